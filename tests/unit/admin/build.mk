$(eval $(call test,admin_test,$(wildcard tests/unit/admin/*.cpp),admin,,unit))
