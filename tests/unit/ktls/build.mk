$(eval $(call test,ktls_test,$(wildcard tests/unit/ktls/*.cpp),ktlstest ktls base,,unit))
