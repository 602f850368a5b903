# Certificates that do not come from weft-ca, through real agents of a real lab.
$(eval $(call test,identity_lab_test,$(wildcard tests/e2e/identity/*.cpp),e2edriver lab probe k8s pki carpc ktls apipb base,,e2e))
$(OUT)/test/identity_lab_test: | $(OUT)/bin/weft $(OUT)/bin/weftd $(OUT)/bin/weft-cni $(OUT)/bin/weft-relay
