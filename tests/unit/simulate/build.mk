$(eval $(call test,simulate_test,$(wildcard tests/unit/simulate/*.cpp),simulate probe verdict compiler k8s store base,,unit))
