$(eval $(call test,reconcile_kernel_test,$(wildcard tests/bpf/reconcile/*.cpp),reconcile world,,bpf))
