# One BPF object: every hook's entry file is included by weft.bpf.c, so that all share the same maps without linking tricks.
BPF_SOURCES := $(shell find bpf include/weft/abi -name '*.h' -o -name '*.bpf.c')
BPF_CFLAGS  := -target bpf -D__TARGET_ARCH_$(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(shell uname -m))) -mcpu=v3 -O2 -g \
               -Wall -Wextra -Werror -Wno-unused-parameter -Iinclude -Ibpf -idirafter /usr/include/$(shell gcc -print-multiarch)

$(BUILD)/bpf/weft.bpf.o: $(BPF_SOURCES)
	@mkdir -p $(@D)
	@echo "  BPF   bpf/weft.bpf.c"
	$(Q)$(CCACHE) $(CLANG) $(BPF_CFLAGS) -c -o $@ bpf/weft.bpf.c

$(GEN)/bpf/weft.skel.h: $(BUILD)/bpf/weft.bpf.o
	@mkdir -p $(@D)
	$(Q)$(BPFTOOL) gen skeleton $< name weft_bpf > $@

GENERATED += $(GEN)/bpf/weft.skel.h
