# A client of Hubble's API that knows nothing of ours: its messages come from protos of its own.
HUBBLE_CLIENT := $(patsubst %,$(GEN)/hubble/%,observer_client peer_client)
$(GEN)/hubble/%.pb.cc $(GEN)/hubble/%.pb.h: tests/support/hubble/%.proto
	@mkdir -p $(@D)
	@echo "  PROTO $<"
	$(Q)protoc -Itests/support/hubble --cpp_out=$(@D) $<
$(GEN)/hubble/%.grpc.pb.cc $(GEN)/hubble/%.grpc.pb.h: tests/support/hubble/%.proto
	@mkdir -p $(@D)
	$(Q)protoc -Itests/support/hubble --plugin=protoc-gen-grpc=$(PROTOC_GRPC) --grpc_out=$(@D) $<
GENERATED += $(HUBBLE_CLIENT:%=%.pb.h) $(HUBBLE_CLIENT:%=%.grpc.pb.h)
.SECONDARY: $(foreach s,cc h,$(HUBBLE_CLIENT:%=%.pb.$(s)) $(HUBBLE_CLIENT:%=%.grpc.pb.$(s)))
$(eval $(call library,hubblepb,$(HUBBLE_CLIENT:%=%.pb.cc) $(HUBBLE_CLIENT:%=%.grpc.pb.cc),,$(GRPC_LIBS) -lz))
DEFERRED += $(eval $(call linked,hubble_client,$(OUT)/test/hubble_client,tests/support/hubble/client.cpp,hubblepb base,))
