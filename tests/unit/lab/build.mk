$(eval $(call test,lab_unit_test,$(wildcard tests/unit/lab/*.cpp),lab probe k8s base,,unit))
