$(eval $(call library,compiler,$(wildcard agent/compiler/*.cpp),k8s base,))
