# The service map without a browser.
$(eval $(call test,ui_unit_test,$(wildcard tests/unit/ui/*.cpp),weftcli,,unit))
