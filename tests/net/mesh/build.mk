$(eval $(call test,mesh_test,$(wildcard tests/net/mesh/*.cpp),world mesh ktlstest ktls bpfmaps k8s base,,net))
$(OUT)/test/mesh_test: | $(OUT)/bin/weft-relay
