/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters and events. Written by every hook, read by the agent (counters at scrape, events by the ring reader). */
#ifndef WEFT_MAP_TELEMETRY_BPF_H
#define WEFT_MAP_TELEMETRY_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/event.h"
#include "weft/abi/limits.h"
#include "weft/abi/reasons.h"

/* index: reason * WEFT_DIRECTION_COUNT + direction */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_REASON_COUNT *WEFT_DIRECTION_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} weft_drops SEC(".maps");

/* index: enum weft_counter */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} weft_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WEFT_EVENT_RING_BYTES);
} weft_events SEC(".maps");

#endif
