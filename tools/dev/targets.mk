# What people type. Whatever needs a package first has it installed: see the stamp in the Makefile.
.PHONY: all deps help clean check test test-vm bench bench-mtls fuzz lint lint-quick format demo demo-mtls install uninstall

TESTS_all      = $(foreach t,unit bpf net e2e lab,$(TESTS_$(t)))
RUN_TESTS      = tools/dev/run-tests --results $(OUT)/results
by_tier        = $(foreach p,$(TESTS_$(1)),$(1)=$(p))
# Which kernels `make test` boots, and what runs in them; QEMU_KERNELS= skips them.
QEMU_KERNELS  ?= 6.1 6.12 7.2
GUEST_TESTS    = $(filter %/decisions_test %/datapath_test %/mesh_test %/accel_test,$(TESTS_all)) $(TESTS_guest)
# ARGUMENTS of run-tests for one kernel; the labs are the longest, so they begin.
in_guest       = $(TESTS_lab:%=qemulab-$(1)=%) $(GUEST_TESTS:%=qemu-$(1)=%) $(TESTS_clock:%=qemuclock-$(1)=%)

all: $(PROGRAMS) ## build every program (what plain `make` does)

deps: ## install the Debian packages that are missing (as root)
	@tools/dev/deps

check: $(TESTS_unit) ## build and run the unit tests only: no root, seconds
	@$(RUN_TESTS) $(call by_tier,unit)

test: $(PROGRAMS) $(TESTS_all) $(TESTS_guest) $(TESTS_clock) $(BENCHES) ## build and run every test, also in QEMU on other kernels (as root)
	@$(RUN_TESTS) $(foreach t,unit bpf net e2e lab,$(call by_tier,$(t))) $(foreach k,$(QEMU_KERNELS),$(call in_guest,$(k)))

# KERNEL=6.1, 6.12 or 7.2: the guests' share of `make test` for one of them.
test-vm: $(PROGRAMS) $(GUEST_TESTS) $(TESTS_clock) $(TESTS_lab) ## run the guests' tests on one kernel: make test-vm KERNEL=6.12
	@[ -n "$(KERNEL)" ] || { echo "say which: make test-vm KERNEL=6.12 (one of: $(QEMU_KERNELS))" >&2; exit 2; }
	@$(RUN_TESTS) $(call in_guest,$(KERNEL))

# Standard output is the JSON, which is kept; tables for people go to standard error.
bench: $(PROGRAMS) $(BENCHES) ## build and run every benchmark (as root)
	@mkdir -p benchmarks/results
	@set -e; for b in $(filter-out %/mtls_cost,$(BENCHES)); do r=benchmarks/results/$${b##*/}.json; echo "== $${b##*/}"; $$b >$$r || { rm -f $$r; exit 1; }; cat $$r; done

# In guests, as the machine's own kernel may have no TLS, and with a clock that noise does not move.
BENCH_KERNELS ?= 6.12 7.2
bench-mtls: $(PROGRAMS) $(OUT)/bench/mtls_cost ## measure mutual TLS beside HAProxy, nginx and kernel TLS, in guests (as root)
	@mkdir -p benchmarks/results
	@set -e; for k in $(BENCH_KERNELS); do WEFT_QEMU_CLOCK=instructions WEFT_QEMU_SECONDS=3600 \
	    tests/qemu/run --lab $$k $(OUT)/bench/mtls_cost | tee $(OUT)/mtls_cost-$$k.txt; \
	    grep '^{' $(OUT)/mtls_cost-$$k.txt >benchmarks/results/mtls_cost-$$k.json; done

FUZZ_SECONDS  ?= 60
FUZZ_FLAGS     = -fsanitize=address,undefined -fno-sanitize-recover=undefined

# Clang, as libFuzzer is its own; without our warnings, which are tuned for g++.
fuzz: ## run every fuzz target FUZZ_SECONDS (60) long, with sanitizers
	@$(MAKE) --no-print-directory FUZZING=yes OUT=$(BUILD)/fuzz CXX='$(CCACHE) clang++-19' \
	    CXXFLAGS='-std=c++23 -O1 -g -fno-omit-frame-pointer -fPIE -fsanitize=fuzzer-no-link $(FUZZ_FLAGS)' \
	    LDFLAGS='-pie $(FUZZ_FLAGS)' fuzz-run

lint: $(GENERATED) ## formatting, style, headers, scripts and clang-tidy
	@tools/dev/lint --generated $(GEN)

lint-quick: ## lint without clang-tidy: seconds
	@tools/dev/lint --quick


format: ## apply the formatting that lint checks
	@tools/dev/lint --format

demo: $(PROGRAMS) ## show a small shop on a cluster of two nodes (as root)
	@PATH="$(abspath $(OUT))/bin:$$PATH" tools/lab/demo.sh

demo-mtls: $(PROGRAMS) ## show mutual TLS between two nodes, in a QEMU guest whose kernel has TLS
	@WEFT_BIN=$(abspath $(OUT))/bin tests/qemu/run --lab $(or $(KERNEL),6.12) examples/mtls/demo.sh

MAN = $(DESTDIR)$(PREFIX)/share/man
COMPLETIONS = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
EXAMPLES = $(DESTDIR)$(PREFIX)/share/doc/weft/examples

install: $(PROGRAMS) ## install into DESTDIR (default /) below PREFIX (default /usr/local)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)/opt/cni/bin $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)/etc/weft/manifests
	install -d $(MAN)/man1 $(MAN)/man8 $(COMPLETIONS) $(EXAMPLES)
	install -m 755 $(filter-out %/weft-cni,$(PROGRAMS)) $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(OUT)/bin/weft-cni $(DESTDIR)/opt/cni/bin
	install -m 644 docs/man/weft.1 $(MAN)/man1
	install -m 644 docs/man/weftd.8 docs/man/weft-ca.8 docs/man/weft-cni.8 docs/man/weft-relay.8 $(MAN)/man8
	$(OUT)/bin/weft completion bash >$(COMPLETIONS)/weft
	install -m 644 deploy/cni/10-weft.conflist deploy/prometheus/weft.rules.yml deploy/grafana/weft-overview.json deploy/grafana/weft-workload.json $(EXAMPLES)
	for unit in weftd weft-ca weft-relay; do sed 's,/usr/local/bin,$(PREFIX)/bin,' deploy/$$unit.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/$$unit.service; done
	[ -e $(DESTDIR)/etc/weft/weftd.yaml ] || install -m 644 deploy/weftd.yaml $(DESTDIR)/etc/weft

uninstall: ## remove what install put there, but not /etc/weft
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,weft weftd weft-ca weft-relay) $(DESTDIR)/opt/cni/bin/weft-cni
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/lib/systemd/system/,weftd.service weft-ca.service weft-relay.service) $(COMPLETIONS)/weft $(addprefix $(EXAMPLES)/,10-weft.conflist weft.rules.yml weft-overview.json weft-workload.json)
	rm -f $(MAN)/man1/weft.1 $(addprefix $(MAN)/man8/,weftd.8 weft-ca.8 weft-cni.8 weft-relay.8)

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## this text
	@echo 'make [TARGET] [V=1] [BUILD=DIR] [SANITIZE=address|thread]'
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12 | sort
