$(eval $(call bench,sync,benchmarks/sync/sync.cpp,reconcile,))
