$(eval $(call test,reconcile_test,$(wildcard tests/unit/reconcile/*.cpp),reconcile,,unit))
