$(eval $(call library,base,$(wildcard agent/base/*.cpp),,-lfmt -lcrypto))
