# The lab: an emulated cluster of namespaces and cgroups, and the commands that drive it.
$(eval $(call library,lab,$(wildcard tools/lab/*.cpp),k8s probe base,-lpthread))
