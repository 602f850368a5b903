$(eval $(call test,store_test,$(wildcard tests/unit/store/*.cpp),store k8s base,,unit))
