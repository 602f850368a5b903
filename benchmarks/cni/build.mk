$(eval $(call bench,cni_add,benchmarks/cni/add.cpp,enrol base,))
$(OUT)/bench/cni_add: | $(OUT)/bin/weft-cni
