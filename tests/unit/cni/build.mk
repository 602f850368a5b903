$(eval $(call test,cni_test,$(wildcard tests/unit/cni/*.cpp),cni enrol base,,unit))
