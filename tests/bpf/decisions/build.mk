$(eval $(call test,decisions_test,$(wildcard tests/bpf/decisions/*.cpp),world,,bpf))
