$(eval $(call library,telemetry,$(wildcard agent/telemetry/*.cpp),bpfmaps otlp apipb base,-lcivetweb -lprometheus-cpp-core -lz))
