/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Denials by the policies that isolate. Written where a hook denies, read at scrapes; the agent removes old entries. */
#ifndef WEFT_MAP_RULE_DROPS_BPF_H
#define WEFT_MAP_RULE_DROPS_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/rule_drops.h"

/* full: counted as rule-drops-full, weft_drops stays exact */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WEFT_RULE_DROPS_ENTRIES);
	__type(key, struct weft_rule_drops_key);
	__type(value, __u64);
} weft_rule_drops SEC(".maps");

#endif
