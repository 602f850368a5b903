# What tests of the TLS library and of weft-relay share: certificates, sockets, patterned data.
$(eval $(call library,ktlstest,$(filter-out %_test.cpp,$(wildcard tests/net/ktls/*.cpp)),ktls base,-lgtest))
