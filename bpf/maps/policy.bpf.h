/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Compiled policy. Written by the reconciler, read by every deciding hook. max_entries is set at load. */
#ifndef WEFT_MAP_POLICY_BPF_H
#define WEFT_MAP_POLICY_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/policy.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct weft_addr);
	__type(value, struct weft_peer);
} weft_ipcache SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct weft_cidr_key);
	__type(value, struct weft_peer);
} weft_cidr SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct weft_policy_key);
	__type(value, struct weft_policy_entry);
} weft_policy SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 16384);
	__type(key, struct weft_ports_key);
	__type(value, __u64);
} weft_ports SEC(".maps");

#endif
