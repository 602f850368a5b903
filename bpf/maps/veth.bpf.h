/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which pod is behind a device of this node? Written by the agent, read by the program on that device. */
#ifndef WEFT_MAP_VETH_BPF_H
#define WEFT_MAP_VETH_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/limits.h"

/* index of the host's end of a veth pair -> netns cookie of the pod's end */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WEFT_VETH_ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} weft_veth SEC(".maps");

#endif
