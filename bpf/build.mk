# BPF objects, each with a generated skeleton. In weft.bpf.c every hook's entry file is included, so that all share the
# same maps without linking tricks.
BPF_SOURCES := $(shell find bpf include/weft/abi -name '*.h' -o -name '*.bpf.c')
BPF_CFLAGS  := -target bpf -D__TARGET_ARCH_$(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(shell uname -m))) -mcpu=v3 -O2 -g \
               -Wall -Wextra -Werror -Wno-unused-parameter -Iinclude -Ibpf -idirafter /usr/include/$(shell gcc -print-multiarch)

BPF_OBJECTS := weft reaper accel_probe

$(BPF_OBJECTS:%=$(BUILD)/bpf/%.bpf.o): $(BUILD)/bpf/%.bpf.o: bpf/%.bpf.c $(BPF_SOURCES)
	@mkdir -p $(@D)
	@echo "  BPF   $<"
	$(Q)$(CCACHE) $(CLANG) $(BPF_CFLAGS) -c -o $@ $<

$(BPF_OBJECTS:%=$(GEN)/bpf/%.skel.h): $(GEN)/bpf/%.skel.h: $(BUILD)/bpf/%.bpf.o
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@

GENERATED += $(BPF_OBJECTS:%=$(GEN)/bpf/%.skel.h)
