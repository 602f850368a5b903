/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Services and backend sets. Written by the reconciler, read by connect and sendmsg. max_entries is set at load. */
#ifndef WEFT_MAP_SERVICE_BPF_H
#define WEFT_MAP_SERVICE_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/service.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct weft_addr_port);
	__type(value, struct weft_service);
} weft_service SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct weft_slot_key);
	__type(value, struct weft_slot);
} weft_slot SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct weft_maglev_key);
	__type(value, struct weft_maglev_chunk);
} weft_maglev SEC(".maps");

/* is this backend still one of this service? */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct weft_member_key);
	__type(value, __u32);
} weft_member SEC(".maps");

/* addresses that accept node ports; 1: this node's */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct weft_addr);
	__type(value, __u32);
} weft_node_addr SEC(".maps");

#endif
