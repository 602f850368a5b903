$(eval $(call library,cnirunner,tests/support/cni_runner.cpp,base,))
$(eval $(call test,cni_chain_test,$(wildcard tests/net/cni/*.cpp),cnirunner enrol base,,net))
$(OUT)/test/cni_chain_test: | $(OUT)/bin/weft-cni
