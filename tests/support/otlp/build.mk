# An OTLP receiver with messages and services of its own, as the specification publishes them.
OTLP_RECEIVER := signals retry_details logs_service trace_service
OTLP_SERVICES := logs_service trace_service
$(GEN)/otlp_receiver/%.pb.cc $(GEN)/otlp_receiver/%.pb.h: tests/support/otlp/%.proto
	@mkdir -p $(@D)
	@echo "  PROTO $<"
	$(Q)protoc -Itests/support/otlp --cpp_out=$(@D) $<
$(GEN)/otlp_receiver/%.grpc.pb.cc $(GEN)/otlp_receiver/%.grpc.pb.h: tests/support/otlp/%.proto
	@mkdir -p $(@D)
	$(Q)protoc -Itests/support/otlp --plugin=protoc-gen-grpc=$(PROTOC_GRPC) --grpc_out=$(@D) $<
GENERATED += $(OTLP_RECEIVER:%=$(GEN)/otlp_receiver/%.pb.h) $(OTLP_SERVICES:%=$(GEN)/otlp_receiver/%.grpc.pb.h)
.SECONDARY: $(foreach s,cc h,$(OTLP_RECEIVER:%=$(GEN)/otlp_receiver/%.pb.$(s)) $(OTLP_SERVICES:%=$(GEN)/otlp_receiver/%.grpc.pb.$(s)))
$(OUT)/obj/$(GEN)/otlp_receiver/%.o $(OUT)/obj/tests/support/otlp/%.o: CPPFLAGS += -isystem $(GEN)/otlp_receiver
$(eval $(call library,otlpreceiver,tests/support/otlp/receiver.cpp $(OTLP_RECEIVER:%=$(GEN)/otlp_receiver/%.pb.cc) $(OTLP_SERVICES:%=$(GEN)/otlp_receiver/%.grpc.pb.cc),base,$(GRPC_LIBS) -lz))
