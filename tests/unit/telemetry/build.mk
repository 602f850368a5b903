$(eval $(call test,telemetry_test,$(wildcard tests/unit/telemetry/*.cpp),telemetry,,unit))
