$(eval $(call library,testmain,tests/support/main.cpp,,-lgtest))
