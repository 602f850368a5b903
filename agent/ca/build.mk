# pki: keys, requests, certificates and files, for the authority and for its clients. carpc: errors across gRPC, for both.
# ca: the authority; weft-ca: its program.
$(eval $(call library,pki,$(wildcard agent/ca/pki/*.cpp),ktls base,-lssl -lcrypto))
$(eval $(call library,carpc,$(wildcard agent/ca/rpc/*.cpp),apipb base,-lz))
$(eval $(call library,ca,$(wildcard agent/ca/*.cpp),pki carpc source store k8s ktls apipb base,))
$(eval $(call library,cacommand,$(filter-out agent/ca/command/main.cpp,$(wildcard agent/ca/command/*.cpp)),ca weftcli,-lsystemd))
$(eval $(call program,weft-ca,agent/ca/command/main.cpp,cacommand ca,))
