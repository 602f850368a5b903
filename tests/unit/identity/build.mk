$(eval $(call test,identity_test,$(wildcard tests/unit/identity/*.cpp),catest ca identity ktlstest,,unit))
