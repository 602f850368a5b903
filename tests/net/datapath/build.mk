$(eval $(call test,datapath_test,$(wildcard tests/net/datapath/*.cpp),world bpfmaps compiler,,net))
