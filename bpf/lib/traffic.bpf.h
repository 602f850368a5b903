/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Counting connections by workload and peer. Only observes: a sum that cannot be kept is counted as a reason, and the
 * connection goes on. Subprograms, as two events of sockops use them.
 */
#ifndef WEFT_LIB_TRAFFIC_BPF_H
#define WEFT_LIB_TRAFFIC_BPF_H

#include "lib/count.bpf.h"
#include "lib/policy.bpf.h"
#include "maps/traffic.bpf.h"

static __always_inline struct weft_others *traffic_others(__u64 workload, __u64 now)
{
	struct weft_others *others = bpf_map_lookup_elem(&weft_others, &workload);
	struct weft_others fresh;
	int i;

	if (others)
		return others;
	__builtin_memset(&fresh, 0, sizeof fresh);
	for (i = 0; i < 4; i++)
		fresh.sum[i].born_ns = now;
	/* EEXIST: another CPU was first, which is as good */
	(void)bpf_map_update_elem(&weft_others, &workload, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&weft_others, &workload);
}

static __always_inline struct weft_traffic *traffic_other(struct weft_others *others,
                                                          const struct weft_traffic_key *key)
{
	__u64 index = key->direction * 2 + key->mutual_tls;

	/* 6.1 loses the bounds of what clang makes of a sum of two bits, so they are set where it cannot look ahead. */
	asm volatile("" : "+r"(index));
	return &others->sum[index & 3];
}

/* The sum that this key's connections are counted in now; its key's peer may become WEFT_TRAFFIC_OTHER. */
static __always_inline struct weft_traffic *traffic_sum(struct weft_traffic_key *key, __u64 now)
{
	struct weft_traffic *sum = bpf_map_lookup_elem(&weft_traffic, key);
	struct weft_traffic fresh = { .born_ns = now };
	struct weft_others *others;

	if (sum)
		return sum;
	others = traffic_others(key->workload, now);
	if (!others)
		return NULL;
	if (__sync_fetch_and_add(&others->peers, 1) < WEFT_TRAFFIC_PEERS) {
		if (!bpf_map_update_elem(&weft_traffic, key, &fresh, BPF_NOEXIST))
			return bpf_map_lookup_elem(&weft_traffic, key);
		sum = bpf_map_lookup_elem(&weft_traffic, key); /* another CPU was first */
	}
	__sync_fetch_and_add(&others->peers, -1);
	if (sum)
		return sum;
	key->peer = WEFT_TRAFFIC_OTHER;
	key->service = 0;
	count_reason(WEFT_REASON_TRAFFIC_OTHER, key->direction);
	return traffic_other(others, key);
}

/* Counts an open, and leaves in `counted` where. */
static __noinline int traffic_open(struct weft_counted *counted, __u64 now)
{
	struct weft_traffic_key key;
	struct weft_traffic *sum;

	if (!counted)
		return 0;   /* never happens; a subprogram's pointers may be null to the verifier */
	key = counted->key; /* a map key must lie on the stack on 6.1 */
	sum = traffic_sum(&key, now);
	if (!sum) {
		count_reason(WEFT_REASON_TRAFFIC_LOST, key.direction);
		counted->born_ns = 0;
		return 0;
	}
	__sync_fetch_and_add(&sum->opened, 1);
	counted->key = key;
	counted->born_ns = sum->born_ns;
	return 0;
}

/* Counts a close where its open was counted. When that sum was removed meanwhile, both are gone. */
static __noinline int traffic_close(struct weft_counted *counted, __u64 sent, __u64 received)
{
	struct weft_traffic *sum = NULL;
	struct weft_others *others;
	struct weft_traffic_key key;

	if (!counted || !counted->born_ns)
		return 0;
	key = counted->key;
	if (key.peer == WEFT_TRAFFIC_OTHER) {
		others = bpf_map_lookup_elem(&weft_others, &key.workload);
		if (others)
			sum = traffic_other(others, &key);
	} else {
		sum = bpf_map_lookup_elem(&weft_traffic, &key);
	}
	if (sum && sum->born_ns == counted->born_ns) {
		__sync_fetch_and_add(&sum->sent, sent);
		__sync_fetch_and_add(&sum->received, received);
		__sync_fetch_and_add(&sum->closed, 1);
	}
	counted->born_ns = 0;
	return 0;
}

/* Identity of the other end, as policy sees it; a pod that talks to itself is its own peer. */
static __always_inline __u64 traffic_peer(const struct weft_endpoint *workload, const struct weft_addr *addr)
{
	const struct weft_peer *peer;

	if (addr_is_self(addr) || addr_equal(addr, &workload->addr4) || addr_equal(addr, &workload->addr6))
		return workload->identity;
	peer = weft_peer_of(addr);
	return peer ? peer->identity : WEFT_IDENTITY_WORLD;
}

/* The smallest i with value < 2^i, at most the last bucket. */
static __always_inline __u32 traffic_bucket(__u64 value)
{
	__u32 bits = 0;

	if (value >> 32) {
		bits += 32;
		value >>= 32;
	}
	if (value >> 16) {
		bits += 16;
		value >>= 16;
	}
	if (value >> 8) {
		bits += 8;
		value >>= 8;
	}
	if (value >> 4) {
		bits += 4;
		value >>= 4;
	}
	if (value >> 2) {
		bits += 2;
		value >>= 2;
	}
	bits += value >> 1 ? 2 : (value ? 1 : 0);
	return bits < WEFT_HISTOGRAM_BUCKETS ? bits : WEFT_HISTOGRAM_BUCKETS - 1;
}

/* Adds a duration to its histogram. Per CPU, so no atomics. */
static __noinline int traffic_duration(__u32 kind, __u32 direction, __u64 us)
{
	__u32 index = kind * WEFT_DIRECTION_COUNT + direction;
	struct weft_histogram *histogram = bpf_map_lookup_elem(&weft_durations, &index);
	__u32 bucket = traffic_bucket(us);

	if (!histogram || bucket >= WEFT_HISTOGRAM_BUCKETS)
		return 0; /* neither happens */
	histogram->sum_us += us;
	histogram->bucket[bucket]++;
	return 0;
}

#endif
