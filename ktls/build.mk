# The TLS library, usable without the agent.
$(eval $(call library,ktls,$(wildcard ktls/tls/*.cpp ktls/record/*.cpp ktls/client/*.cpp ktls/message/*.cpp),base,-lssl -lcrypto))
# The splicing relay: no OpenSSL, no fmt.
$(eval $(call program,weft-relay,$(wildcard ktls/relay/*.cpp) ktls/record/control_record.cpp ktls/message/message.cpp,,-lpthread))
