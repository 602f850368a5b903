/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sums of connections by workload and peer. Written by sockops, read at scrapes; the agent has old entries removed. */
#ifndef WEFT_MAP_TRAFFIC_BPF_H
#define WEFT_MAP_TRAFFIC_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/reasons.h"
#include "weft/abi/traffic.h"

/* max_entries is set at load (traffic_entries); full: counted in weft_others */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct weft_traffic_key);
	__type(value, struct weft_traffic);
} weft_traffic SEC(".maps");

/* one for each workload, made before its first peer; full: its connections are not in sums by peer, and counted */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct weft_others);
} weft_others SEC(".maps");

/* which sum a connection is part of */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_counted);
} weft_counted SEC(".maps");

/* index: enum weft_duration * WEFT_DIRECTION_COUNT + direction */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, WEFT_DURATION_COUNT *WEFT_DIRECTION_COUNT);
	__type(key, __u32);
	__type(value, struct weft_histogram);
} weft_durations SEC(".maps");

#endif
