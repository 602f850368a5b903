# One unit-test program for each folder below tests/unit; a folder that needs more than its own library adds its own build.mk.
$(eval $(call test,base_test,$(wildcard tests/unit/base/*.cpp),base,,unit))
