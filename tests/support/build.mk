$(eval $(call library,testmain,tests/support/main.cpp,,-lgtest))
$(eval $(call library,world,tests/support/world.cpp,base,-lbpf -lelf -lz))
$(eval $(call library,agentworld,tests/support/agent_world.cpp,lab bpfmaps base,))
