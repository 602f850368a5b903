$(eval $(call test,enrol_test,$(wildcard tests/unit/enrol/*.cpp),enrol base,,unit))
