# A real Prometheus and a real agent.
$(eval $(call test,prometheus_test,$(wildcard tests/e2e/prometheus/*.cpp),e2edriver lab base,,e2e))
$(OUT)/test/prometheus_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni $(OUT)/bin/weft-ca $(OUT)/bin/weft-relay
