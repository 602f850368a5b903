# Attackers with an OpenSSL of their own against real agents of a real lab; also in guests, where the kernel carries the records.
$(eval $(call test,attack_test,$(wildcard tests/e2e/attack/*.cpp) tests/e2e/driver.cpp,lab probe k8s pki ktls base,,lab))
$(OUT)/test/attack_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni $(OUT)/bin/weft-ca $(OUT)/bin/weft-relay
