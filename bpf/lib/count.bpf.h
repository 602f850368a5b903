/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Counting: one line for each outcome off the normal path. Per CPU, but with atomics: a call of a process may be
 * interrupted by a packet that counts the same, and a plain addition would then lose one.
 */
#ifndef WEFT_LIB_COUNT_BPF_H
#define WEFT_LIB_COUNT_BPF_H

#include "maps/telemetry.bpf.h"

static __always_inline void count_reason(__u32 reason, __u32 direction)
{
	__u32 index = reason * WEFT_DIRECTION_COUNT + direction;
	__u64 *value = bpf_map_lookup_elem(&weft_drops, &index);

	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline void count_add(__u32 counter, __u64 amount)
{
	__u64 *value = bpf_map_lookup_elem(&weft_counters, &counter);

	if (value)
		__sync_fetch_and_add(value, amount);
}

#endif
