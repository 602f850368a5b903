$(eval $(call bench,packet_cost,$(wildcard benchmarks/packet/*.cpp),world base,))
