/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* UDP flows of workloads that go on. Written by the packet hooks; the sweep that the agent runs removes them. */
#ifndef WEFT_MAP_UDP_FLOW_BPF_H
#define WEFT_MAP_UDP_FLOW_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/limits.h"
#include "weft/abi/udp_flow.h"

/* full: datagrams of further flows pass, and are counted as udp-flow-full */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WEFT_UDP_FLOW_ENTRIES);
	__type(key, struct weft_udp_flow_key);
	__type(value, struct weft_udp_flow);
} weft_udp_flow SEC(".maps");

#endif
