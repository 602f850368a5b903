/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the kernel remembers of its own choices. Written and read by connect and sendmsg; the agent only reads. */
#ifndef WEFT_MAP_CHOICE_BPF_H
#define WEFT_MAP_CHOICE_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/limits.h"
#include "weft/abi/service.h"

/* session affinity; full: the client that was idle longest may move */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WEFT_AFFINITY_ENTRIES);
	__type(key, struct weft_affinity_key);
	__type(value, struct weft_affinity);
} weft_affinity SEC(".maps");

/* open connections of a backend, exact; full: the backend counts as idle */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WEFT_CONNS_ENTRIES);
	__type(key, struct weft_addr_port);
	__type(value, __s64);
} weft_conns SEC(".maps");

/* next slot of a round-robin service; full: the service that was idle longest starts again */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WEFT_ROUND_ROBIN_ENTRIES);
	__type(key, __u64);
	__type(value, __u32);
} weft_rr SEC(".maps");

/* translation of unconnected UDP; full: the flow that was idle longest is chosen anew */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WEFT_UDP_NAT_ENTRIES);
	__type(key, struct weft_udp_nat_key);
	__type(value, struct weft_udp_nat);
} weft_udp_nat SEC(".maps");

#endif
