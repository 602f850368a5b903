/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Connections inside the node that skip TCP/IP. Written by sockops and sk_msg; the agent only reads. */
#ifndef WEFT_MAP_ACCEL_BPF_H
#define WEFT_MAP_ACCEL_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/accel.h"
#include "weft/abi/limits.h"

/*
 * Socket cookie -> socket. Written by sockops, left by the kernel when a socket closes. A socket is never removed while
 * it lives: the kernel would throw away what its application has not read yet. Full: the connection stays with TCP.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, WEFT_ACCEL_SOCKETS);
	__type(key, __u64);
	__type(value, __u64);
} weft_accel_sk SEC(".maps");

/* written by the end that connected, removed by the one that accepted; full: the oldest connection stays with TCP */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WEFT_ACCEL_OFFERS);
	__type(key, struct weft_accel_tuple);
	__type(value, struct weft_accel_offer);
} weft_accel_meet SEC(".maps");

/* cookie of the client's socket -> the connection; made when both ends are there, removed when both are closed */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WEFT_ACCEL_SOCKETS);
	__type(key, __u64);
	__type(value, struct weft_accel_pair);
} weft_accel_pair SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct weft_accel);
} weft_accel SEC(".maps");

#endif
