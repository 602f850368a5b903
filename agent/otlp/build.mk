# Connections as logs and spans to an OTLP receiver, by the gRPC that is there anyway. The endpoint's text is for the
# configuration, which knows no gRPC.
$(eval $(call library,otlpendpoint,agent/otlp/endpoint.cpp,base,))
$(eval $(call library,otlp,$(filter-out agent/otlp/endpoint.cpp,$(wildcard agent/otlp/*.cpp)),otlpendpoint apipb base,-lpthread))
