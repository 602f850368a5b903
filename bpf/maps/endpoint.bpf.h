/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Workloads of this node. Written by the reconciler, read by every hook. max_entries is set at load. */
#ifndef WEFT_MAP_ENDPOINT_BPF_H
#define WEFT_MAP_ENDPOINT_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/endpoint.h"

/* netns cookie -> workload */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct weft_endpoint);
} weft_endpoint SEC(".maps");

/* own address -> netns cookie: names the workload of a socket that is older than the hooks */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct weft_addr);
	__type(value, __u64);
} weft_local SEC(".maps");

#endif
