$(eval $(call test,otlp_test,$(wildcard tests/unit/otlp/*.cpp),otlp telemetry otlpreceiver apipb base,,unit))
