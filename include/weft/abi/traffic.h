/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What TCP connections of workloads did, summed by who talked to whom. Counted in the kernel, at open and at close, so
 * that no restart of the agent takes anything away. Every count is a sum over all CPUs, changed with atomics.
 */
#ifndef WEFT_ABI_TRAFFIC_H
#define WEFT_ABI_TRAFFIC_H

#include "policy.h"
#include "types.h"

/* Peers of one workload that are counted each on its own, with direction, Service and security; more count together. */
#define WEFT_TRAFFIC_PEERS 64u

/* weft_traffic_key.peer: no map entry, but weft_others of the workload. */
#define WEFT_TRAFFIC_OTHER 4

/* Key of weft_traffic: one peer of one workload. Both are identities, so pods of one Deployment count together. */
struct weft_traffic_key {
	__u64 workload;  /* weft_endpoint.identity of the workload that counts */
	__u64 peer;      /* identity of the other end, WEFT_IDENTITY_* or WEFT_TRAFFIC_OTHER */
	__u64 service;   /* weft_service.service that the workload asked for; 0: none, and always for ingress */
	__u8 direction;  /* WEFT_EGRESS: the workload connected; WEFT_INGRESS: it accepted */
	__u8 mutual_tls; /* 1: its bytes cross the wire by mutual TLS */
	__u8 pad[6];     /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_traffic_key) == 32, "no hidden padding");

/* Value of weft_traffic. */
struct weft_traffic {
	__u64 opened;   /* connections that were established */
	__u64 closed;   /* those of them that ended, for whatever cause */
	__u64 sent;     /* payload bytes that the workload sent on those that ended */
	__u64 received; /* payload bytes that it received on them */
	__u64 born_ns;  /* CLOCK_MONOTONIC of its creation: a close counts only where its open was counted */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_traffic) == 40, "no hidden padding");

/* Value of weft_others, key: weft_endpoint.identity (__u64): what goes beyond WEFT_TRAFFIC_PEERS. */
struct weft_others {
	__u64 peers;                /* entries of the workload in weft_traffic */
	struct weft_traffic sum[4]; /* index: direction * 2 + mutual_tls */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_others) == 168, "no hidden padding");

/* Socket storage weft_counted: which sum this connection's open was counted in. */
struct weft_counted {
	struct weft_traffic_key key;
	__u64 born_ns; /* weft_traffic.born_ns; 0: nothing is owed */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_counted) == 40, "no hidden padding");

/* Argument of the program weft_forget: removes an entry of weft_traffic and makes room for another peer. */
struct weft_forget_args {
	struct weft_traffic_key key;
	__s32 result; /* out: 0, or -ENOENT */
	__u32 pad;    /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_forget_args) == 40, "no hidden padding");

/* Durations are kept by powers of two: bucket i has those below 2^i microseconds and in no lower bucket. */
#define WEFT_HISTOGRAM_BUCKETS 36 /* the last one takes all from 2^34 us (4.8 h) on */

/* Per-CPU value of weft_durations, index: kind of enum weft_duration * WEFT_DIRECTION_COUNT + direction. */
struct weft_histogram {
	__u64 sum_us;
	__u64 bucket[WEFT_HISTOGRAM_BUCKETS];
};
WEFT_STATIC_ASSERT(sizeof(struct weft_histogram) == 8 + 8 * WEFT_HISTOGRAM_BUCKETS, "no hidden padding");

/* X(enumerator, metric, help) */
#define WEFT_DURATIONS(X)                                                                                 \
	X(CONNECT, "weft_connect_latency_seconds", "Time from connect to an established connection.")     \
	X(SRTT, "weft_srtt_seconds", "Smoothed round-trip time of connections that ended, at their end.") \
	X(LIFE, "weft_connection_duration_seconds", "Life of connections that ended.")
#define WEFT_DURATION_ENUM(name, metric, help) WEFT_DURATION_##name,
enum weft_duration { WEFT_DURATIONS(WEFT_DURATION_ENUM) WEFT_DURATION_COUNT };
#undef WEFT_DURATION_ENUM

#endif
