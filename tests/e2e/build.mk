# The real command line against real labs.
$(eval $(call test,lab_test,$(wildcard tests/e2e/*.cpp),lab probe k8s base,,e2e))
$(OUT)/test/lab_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni $(OUT)/bin/weft-ca $(OUT)/bin/weft-relay
# One real weftd in a world of its own.
$(eval $(call test,agent_test,$(wildcard tests/e2e/agent/*.cpp),agentworld lab bpfmaps cnirunner base,,e2e))
$(OUT)/test/agent_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni
