/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Hand-over between applications' sockets and the agent's, both ways, and the agent's listeners. */
#ifndef WEFT_MAP_MESH_BPF_H
#define WEFT_MAP_MESH_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/limits.h"
#include "weft/abi/mesh.h"

/* workload's own address and port -> WEFT_TLS_*, where that port is an exception. Written by the reconciler */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1024);
	__type(key, struct weft_addr_port);
	__type(value, __u32);
} weft_tls_port SEC(".maps");

/* written by sockops, read and removed by the agent; full: the oldest dial is forgotten, its connection reset */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WEFT_MESH_ENTRIES);
	__type(key, struct weft_mesh_key);
	__type(value, struct weft_mesh_dial);
} weft_mesh_dial SEC(".maps");

/* written by the agent, read and removed by sockops; full: the application sees the agent's address */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WEFT_MESH_ENTRIES);
	__type(key, struct weft_mesh_key);
	__type(value, struct weft_mesh_peer);
} weft_mesh_peer SEC(".maps");

/* written by the agent, read by sk_lookup; listening sockets only, never one that carries data */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, WEFT_MESH_LISTENERS);
	__type(key, struct weft_mesh_listen_key);
	__type(value, __u64);
} weft_mesh_lstn SEC(".maps");

#endif
