$(eval $(call test,mesh_test,$(wildcard tests/net/mesh/*.cpp),world mesh ktlstest ktls bpfmaps k8s base,,net))
$(OUT)/test/mesh_test: | $(OUT)/bin/weft-relay
# What takes hours: only where the clock goes on as soon as nobody has anything to do.
$(eval $(call test,patience_test,$(wildcard tests/net/mesh/patience/*.cpp) tests/net/mesh/mesh_world.cpp,world mesh ktlstest ktls bpfmaps k8s base,,clock))
$(OUT)/test/patience_test: | $(OUT)/bin/weft-relay
