$(eval $(call library,mesh,$(wildcard agent/mesh/*.cpp),ktls bpfmaps base,-lbpf))
