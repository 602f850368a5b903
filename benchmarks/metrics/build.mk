$(eval $(call bench,scrape_cost,$(wildcard benchmarks/metrics/*.cpp),agentworld lab bpfmaps base,))
$(OUT)/bench/scrape_cost: | $(OUT)/bin/weftd
