# What tests of the TLS library and of weft-relay share: certificates, sockets, patterned data.
$(eval $(call library,ktlstest,$(filter-out %_test.cpp,$(wildcard tests/net/ktls/*.cpp)),ktls base,-lgtest))
$(eval $(call test,ktls_relay_test,$(wildcard tests/net/ktls/relay*_test.cpp),ktlstest ktls base,,net))
$(OUT)/test/ktls_relay_test: | $(OUT)/bin/weft-relay
# Kernel TLS: in guests only, as the machine's own kernel may have none.
$(eval $(call test,ktls_kernel_test,$(wildcard tests/net/ktls/kernel_*_test.cpp),ktlstest ktls base,,guest))
$(OUT)/test/ktls_kernel_test: | $(OUT)/bin/weft-relay
