$(eval $(call library,store,$(wildcard agent/store/*.cpp),k8s base,))
