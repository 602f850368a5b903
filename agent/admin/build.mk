# features needs no gRPC and no agent: `weft check` links it alone.
$(eval $(call library,features,agent/admin/features.cpp,base,-lbpf -lelf -lz))
$(eval $(call library,admin,$(filter-out agent/admin/features.cpp,$(wildcard agent/admin/*.cpp)),telemetry features carpc apipb base,-lpthread))
