$(eval $(call library,bpfmaps,$(wildcard agent/bpf/*.cpp),base,-lbpf -lelf -lz -lmnl))
