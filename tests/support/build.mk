$(eval $(call library,testmain,tests/support/main.cpp,,-lgtest))
$(eval $(call library,world,tests/support/world.cpp,base,-lbpf -lelf -lz))
