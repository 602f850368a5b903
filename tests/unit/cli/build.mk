$(eval $(call test,cli_test,$(wildcard tests/unit/cli/*.cpp),admin weftcli,,unit))
$(OUT)/test/cli_test: $(OUT)/bin/weft
