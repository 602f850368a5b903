$(eval $(call test,compiler_test,$(wildcard tests/unit/compiler/*.cpp),compiler verdict k8s store base,,unit))
