$(eval $(call library,telemetry,$(wildcard agent/telemetry/*.cpp),bpfmaps apipb base,-lcivetweb -lprometheus-cpp-core -lz))
