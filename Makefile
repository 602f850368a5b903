# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
# The one makefile. `make help` lists what it can do. Each folder adds a build.mk that declares its libraries,
# programs and tests with the `library`, `program` and `test` templates below; nothing recurses.

BUILD    ?= build
SANITIZE ?=
V        ?=
DESTDIR  ?=
PREFIX   ?= /usr/local
VERSION  := $(shell cat VERSION)
OUT      := $(BUILD)$(if $(SANITIZE),/$(SANITIZE),/release)
GEN      := $(BUILD)/gen
STAMP    := $(BUILD)/deps.stamp
comma := ,
Q        := $(if $(V),,@)

CCACHE   := $(shell command -v ccache 2>/dev/null)
export CCACHE_NOHASHDIR := 1
CXX      := $(CCACHE) g++
CLANG    ?= clang-19
BPFTOOL  ?= bpftool
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor -Woverloaded-virtual -Werror
CPPFLAGS := -Iinclude -I. -isystem $(GEN) -DWEFT_VERSION='"$(VERSION)"'
CXXFLAGS := -std=c++23 -O2 -g1 -fno-omit-frame-pointer -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE $(WARNINGS)
LDFLAGS  := -pie -Wl,-z,relro,-z,now -Wl,--gc-sections -Wl,--as-needed
ifneq ($(SANITIZE),)
CXXFLAGS := $(filter-out -D_FORTIFY_SOURCE=2,$(CXXFLAGS)) -fsanitize=$(SANITIZE)$(if $(filter address,$(SANITIZE)),$(comma)undefined)
LDFLAGS  += -fsanitize=$(SANITIZE)$(if $(filter address,$(SANITIZE)),$(comma)undefined)
endif

.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

# --- templates -------------------------------------------------------------------------------------------------
# $(call library,NAME,SOURCES,LIBRARIES,LINKER FLAGS): a static library; users get its libraries and flags too.
# $(call program,NAME,SOURCES,LIBRARIES,LINKER FLAGS): $(OUT)/bin/NAME.
# $(call test,NAME,SOURCES,LIBRARIES,LINKER FLAGS,TIER): a GoogleTest program; TIER is unit, bpf, net, e2e, lab (e2e
# that also runs in guests) or guest.
# $(call bench,NAME,SOURCES,LIBRARIES,LINKER FLAGS): a benchmark program in $(OUT)/bench/NAME.
OBJECTS :=
PROGRAMS :=
BENCHES :=
TESTS_unit :=
TESTS_bpf :=
TESTS_net :=
TESTS_e2e :=
TESTS_guest :=
TESTS_lab :=
TESTS_clock :=

objects_of = $(patsubst %.cc,$(OUT)/obj/%.o,$(patsubst %.cpp,$(OUT)/obj/%.o,$(1)))
closure_step = $(sort $(1) $(foreach l,$(1),$(LIBS_$(l))))
closure = $(call closure_step,$(call closure_step,$(call closure_step,$(call closure_step,$(call closure_step,$(1))))))
archives = $(foreach l,$(call closure,$(1)),$(OUT)/lib/lib$(l).a)
flags = $(sort $(foreach l,$(call closure,$(1)),$(LINK_$(l))))

define library
SOURCES_$(1) := $(2)
LIBS_$(1) := $(3)
LINK_$(1) := $(4)
OBJECTS += $(call objects_of,$(2))
$(OUT)/lib/lib$(1).a: $(call objects_of,$(2))
	@mkdir -p $$(@D)
	$(Q)rm -f $$@ && ar rcs $$@ $$^
endef

define linked
OBJECTS += $(call objects_of,$(3))
$(2): $(call objects_of,$(3)) $$(call archives,$(4))
	@mkdir -p $$(@D)
	@echo "  LD    $(2)"
	$(Q)$(CXX) $(CXXFLAGS) $(LDFLAGS) -o $$@ $(call objects_of,$(3)) -Wl,--start-group $$(call archives,$(4)) $$(call flags,$(4)) -Wl,--end-group $(5)
endef

define program
PROGRAMS += $(OUT)/bin/$(1)
$(1): $(OUT)/bin/$(1)
.PHONY: $(1)
DEFERRED += $$(eval $$(call linked,$(1),$(OUT)/bin/$(1),$(2),$(3),$(4)))
endef

define test
TESTS_$(5) += $(OUT)/test/$(1)
$(1): $(OUT)/test/$(1)
.PHONY: $(1)
DEFERRED += $$(eval $$(call linked,$(1),$(OUT)/test/$(1),$(2),$(3) testmain,$(4) -lgmock -lgtest))
endef

define bench
BENCHES += $(OUT)/bench/$(1)
$(1): $(OUT)/bench/$(1)
.PHONY: $(1)
DEFERRED += $$(eval $$(call linked,$(1),$(OUT)/bench/$(1),$(2),$(3),$(4) -lbenchmark))
endef

# The stamp is an included makefile: make brings it up to date first (tools/dev/deps installs what is missing) and then
# starts over. Until it is there nothing else is read, as reading the rest already asks for compilers.
ifneq ($(filter-out help clean deps uninstall,$(or $(MAKECMDGOALS),all)),)
include $(STAMP)
endif
$(STAMP): tools/dev/packages.txt
	@tools/dev/deps
	@mkdir -p $(@D)
	@touch $@

ifneq ($(wildcard $(STAMP)),)
include $(sort $(shell find . -name build.mk -not -path './build/*'))
endif

# Programs are declared only now, when every library's own dependencies are known.
$(DEFERRED)

# --- compiling -------------------------------------------------------------------------------------------------
$(OUT)/obj/%.o: %.cpp | $(GENERATED)
	@mkdir -p $(@D)
	@echo "  CXX   $<"
	$(Q)$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MD -MP -c -o $@ $<

# Generated protobuf code is not held to our warnings.
$(OUT)/obj/$(GEN)/%.o: $(GEN)/%.cc | $(GENERATED)
	@mkdir -p $(@D)
	@echo "  CXX   $<"
	$(Q)$(CXX) $(CPPFLAGS) $(filter-out $(WARNINGS),$(CXXFLAGS)) -MD -MP -c -o $@ $<

include tools/dev/targets.mk

-include $(OBJECTS:.o=.d)
