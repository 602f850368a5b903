/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Flows without a connection: a packet that policy allowed in one direction lets its replies pass in the other.
 * A flow found under an older policy is judged again in its first direction, so a policy change cuts it too.
 */
#ifndef WEFT_LIB_TRACK_BPF_H
#define WEFT_LIB_TRACK_BPF_H

#include "lib/count.bpf.h"
#include "lib/policy.bpf.h"
#include "maps/config.bpf.h"
#include "maps/socket.bpf.h"

/* One flow, seen from the workload. */
struct weft_flow {
	__u64 netns;
	struct weft_addr_port peer;
	__u16 local_port;
	__u16 pad;
};

static __always_inline void track_key(const struct weft_flow *flow, __u8 reply_direction,
                                      struct weft_udp_track_key *key)
{
	__builtin_memset(key, 0, sizeof *key);
	key->netns = flow->netns;
	key->peer = flow->peer;
	key->local_port = flow->local_port;
	key->reply_direction = reply_direction;
}

/* Remembers that replies in `reply_direction` pass. Returns 0, or a negative errno when it could not be stored. */
static __always_inline int track_open(const struct weft_flow *flow, __u8 reply_direction, __u64 revision)
{
	struct weft_udp_track_key key;
	struct weft_udp_track fresh = { .last_seen_ns = bpf_ktime_get_ns(), .revision = revision };
	struct weft_udp_track *known;

	track_key(flow, reply_direction, &key);
	known = bpf_map_lookup_elem(&weft_udp_track, &key);
	if (known) {
		known->last_seen_ns = fresh.last_seen_ns;
		known->revision = revision;
		return 0;
	}
	return (int)bpf_map_update_elem(&weft_udp_track, &key, &fresh, BPF_ANY);
}

/* Is this a reply, in `direction`, of a flow that was allowed and still is? */
static __always_inline bool track_is_reply(const struct weft_endpoint *workload, const struct weft_flow *flow,
                                           __u8 direction, __u64 revision)
{
	struct weft_udp_track_key key;
	struct weft_udp_track *known;
	__u64 now = bpf_ktime_get_ns(), rule;

	track_key(flow, direction, &key);
	known = bpf_map_lookup_elem(&weft_udp_track, &key);
	if (!known || now - known->last_seen_ns > WEFT_UDP_IDLE_SECONDS * 1000000000ULL)
		return false;
	if (known->revision != revision) {
		struct weft_question first = { .peer = flow->peer.addr, .proto = flow->peer.proto };

		first.direction = direction == WEFT_INGRESS ? WEFT_EGRESS : WEFT_INGRESS;
		first.port_be = bpf_htons(first.direction == WEFT_INGRESS ? flow->local_port : flow->peer.port);
		if (policy_decide(workload, &first, &rule) != WEFT_VERDICT_ALLOW)
			return false;
		known->revision = revision;
	}
	known->last_seen_ns = now;
	return true;
}

#endif
