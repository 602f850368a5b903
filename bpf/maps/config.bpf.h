/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What may change while programs run: one entry. Written by the reconciler, read by every hook. */
#ifndef WEFT_MAP_CONFIG_BPF_H
#define WEFT_MAP_CONFIG_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/event.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct weft_config);
} weft_config SEC(".maps");

static __always_inline const struct weft_config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&weft_config, &zero);
}

#endif
