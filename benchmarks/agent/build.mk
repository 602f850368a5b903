$(eval $(call bench,agent_cost,$(wildcard benchmarks/agent/*.cpp),agentworld lab bpfmaps base,))
$(OUT)/bench/agent_cost: | $(OUT)/bin/weftd
