$(eval $(call test,accel_test,$(wildcard tests/net/accel/*.cpp),world bpfmaps,,net))
