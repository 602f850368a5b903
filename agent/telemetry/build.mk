$(eval $(call library,telemetry,$(wildcard agent/telemetry/*.cpp),apipb base,-lprometheus-cpp-pull -lprometheus-cpp-core -lz))
