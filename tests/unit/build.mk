# Unit tests of what has no build.mk of its own below tests/unit.
$(eval $(call test,base_test,$(wildcard tests/unit/base/*.cpp),base,,unit))
$(eval $(call test,abi_test,$(wildcard tests/unit/abi/*.cpp),base,,unit))
$(eval $(call test,app_test,$(wildcard tests/unit/app/*.cpp),appcore,,unit))
