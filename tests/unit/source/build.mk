$(eval $(call test,source_test,$(wildcard tests/unit/source/*.cpp),source store k8s base,,unit))
