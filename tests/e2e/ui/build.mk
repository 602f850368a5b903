# The service map in a real browser: of a real lab, and with 500 services.
$(eval $(call test,ui_test,$(wildcard tests/e2e/ui/*.cpp),e2edriver chromium weftcli lab base,,e2e))
$(OUT)/test/ui_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni $(OUT)/bin/weft-ca $(OUT)/bin/weft-relay
