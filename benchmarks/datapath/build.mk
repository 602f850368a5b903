$(eval $(call bench,datapath,$(wildcard benchmarks/datapath/*.cpp),world base,))
