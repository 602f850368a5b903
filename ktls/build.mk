# The TLS library, usable without the agent.
$(eval $(call library,ktls,$(wildcard ktls/tls/*.cpp ktls/record/*.cpp),base,-lssl -lcrypto))
