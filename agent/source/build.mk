$(eval $(call library,source,$(wildcard agent/source/*.cpp),store k8s base,))
