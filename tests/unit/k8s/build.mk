$(eval $(call test,k8s_test,$(wildcard tests/unit/k8s/*.cpp),k8s base,,unit))
