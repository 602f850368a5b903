$(eval $(call test,compiler_test,$(wildcard tests/unit/compiler/*.cpp),compiler k8s base,,unit))
