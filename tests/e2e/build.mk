# The real command line against real labs.
$(eval $(call library,e2edriver,tests/e2e/driver.cpp,lab base,-lgtest))
$(eval $(call test,lab_test,$(filter-out tests/e2e/driver.cpp,$(wildcard tests/e2e/*.cpp)),e2edriver lab probe k8s otlpreceiver base,,e2e))
$(OUT)/test/lab_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni $(OUT)/bin/weft-ca $(OUT)/bin/weft-relay
# Mutual TLS between two nodes; also in guests, where the kernel has TLS.
$(eval $(call test,mesh_lab_test,$(wildcard tests/e2e/mesh/*.cpp),e2edriver ktlstest lab base,,lab))
$(OUT)/test/mesh_lab_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni $(OUT)/bin/weft-ca $(OUT)/bin/weft-relay
# One real weftd in a world of its own.
$(eval $(call test,agent_test,$(wildcard tests/e2e/agent/*.cpp),agentworld lab bpfmaps cnirunner base,,e2e))
$(OUT)/test/agent_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni $(OUT)/test/hubble_client
