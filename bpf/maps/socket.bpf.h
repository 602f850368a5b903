/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* State per socket, and the tracking of flows without a connection. Written and read by hooks only. */
#ifndef WEFT_MAP_SOCKET_BPF_H
#define WEFT_MAP_SOCKET_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/limits.h"
#include "weft/abi/socket.h"

/* BPF_F_CLONE: an accepted socket starts with its listener's workload */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct weft_socket);
} weft_socket SEC(".maps");

/* full: the flow that was idle longest is forgotten, its next reply is judged as a new packet */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WEFT_UDP_TRACK_ENTRIES);
	__type(key, struct weft_udp_track_key);
	__type(value, struct weft_udp_track);
} weft_udp_track SEC(".maps");

#endif
