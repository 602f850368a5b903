# The real weft-ca program: its commands, a server that is killed, and nodes that join it.
$(eval $(call test,weft_ca_test,$(wildcard tests/e2e/ca/*.cpp),catest ca identity,,e2e))
$(OUT)/test/weft_ca_test: | $(OUT)/bin/weft-ca
