$(eval $(call test,probe_test,$(wildcard tests/unit/probe/*.cpp),probe,,unit))
