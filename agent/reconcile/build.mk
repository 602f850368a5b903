$(eval $(call library,reconcile,$(wildcard agent/reconcile/*.cpp),bpfmaps,))
