# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
# Every tests/fuzz/NAME.cpp is a libFuzzer program. `make fuzz` builds all that they link with clang and sanitizers, in a
# folder of its own, and runs each for
# FUZZ_SECONDS. The corpus stays in the build folder, so that runs add up.
FUZZERS      := $(patsubst tests/fuzz/%.cpp,%,$(wildcard tests/fuzz/*.cpp))
FUZZ_LIBS    := cni enrol k8s pki ktls base

ifdef FUZZING
define fuzzer
DEFERRED += $$(eval $$(call linked,$(1),$(OUT)/fuzz/$(1),tests/fuzz/$(1).cpp,$(FUZZ_LIBS),-fsanitize=fuzzer))
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzzer,$(f))))

.PHONY: fuzz-run
fuzz-run: $(FUZZERS:%=$(OUT)/fuzz/%)
	@set -e; for f in $(FUZZERS); do \
	    mkdir -p $(OUT)/corpus/$$f $(OUT)/findings; echo "== $$f"; \
	    $(OUT)/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	        -artifact_prefix=$(OUT)/findings/$$f- $(OUT)/corpus/$$f; \
	done; echo "$(words $(FUZZERS)) fuzzers passed, $(FUZZ_SECONDS) s each"
endif
