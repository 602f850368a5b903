/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Following UDP flows: a datagram that passed begins one or is added to it. Only observes, never changes a verdict; a
 * datagram of a known flow costs one look-up, the clock and two additions.
 */
#ifndef WEFT_LIB_UDP_FLOW_BPF_H
#define WEFT_LIB_UDP_FLOW_BPF_H

#include "lib/enforce.bpf.h"
#include "maps/choice.bpf.h"
#include "maps/udp_flow.bpf.h"

/* UDP's own header (RFC 768). */
#define WEFT_UDP_HEADER_BYTES 8

/* Which Service led here, if one did: connected sockets remember it themselves, others in their translations. */
static __always_inline void udp_flow_service(struct weft_udp_flow *flow, const struct weft_addr_port *peer,
                                             const struct weft_socket *socket)
{
	struct weft_udp_nat_key key = { .socket = flow->cookie, .peer = *peer, .kind = WEFT_UDP_REVERSE };
	const struct weft_udp_nat *known;

	flow->asked = *peer;
	if ((socket->flags & WEFT_SOCKET_TRANSLATED) && addr_port_equal(&socket->backend, peer)) {
		flow->asked = socket->asked;
		flow->service = socket->service;
		return;
	}
	known = bpf_map_lookup_elem(&weft_udp_nat, &key);
	if (known) {
		flow->asked = known->peer;
		flow->service = known->service;
	}
}

/* Tells of a flow's begin (WEFT_EVENT_CONNECT, ACCEPT) or end (CLOSE). */
static __always_inline void udp_flow_report(const struct weft_udp_flow_key *key, const struct weft_udp_flow *flow,
                                            __u64 now, __u8 kind)
{
	struct weft_event *event = event_begin_at(now, kind, WEFT_REASON_NONE, flow->direction);

	if (!event)
		return;
	event->flags = WEFT_EVENT_PACKET;
	event->cookie = flow->cookie;
	event->netns = key->netns;
	event->workload = flow->workload;
	event->rule = flow->rule;
	event->service = flow->service;
	event->local = key->local;
	event->remote = key->peer;
	event->asked = flow->asked;
	if (kind == WEFT_EVENT_CLOSE) {
		event->bytes_sent = flow->bytes_sent;
		event->bytes_received = flow->bytes_received;
		event->packets_sent = flow->packets_sent;
		event->packets_received = flow->packets_received;
		event->duration_ns = flow->last_ns - flow->first_ns;
		event->idle_ns = now > flow->last_ns ? now - flow->last_ns : 0;
	}
	event_send(event);
}

static __always_inline void udp_flow_add(struct weft_udp_flow *flow, __u64 now, __u8 direction, __u64 bytes,
                                         __u64 packets)
{
	flow->last_ns = now;
	if (direction == WEFT_EGRESS) {
		__sync_fetch_and_add(&flow->bytes_sent, bytes);
		__sync_fetch_and_add(&flow->packets_sent, packets);
	} else {
		__sync_fetch_and_add(&flow->bytes_received, bytes);
		__sync_fetch_and_add(&flow->packets_received, packets);
	}
}

/* A datagram of a workload's socket has passed. A subprogram, as both directions use it. */
static __noinline int udp_flow_seen(struct __sk_buff *skb, const struct weft_passage *p,
                                    const struct weft_socket *socket, const struct weft_endpoint *workload)
{
	struct weft_udp_flow_key key = {};
	struct weft_udp_flow fresh, *flow;
	__u64 now = bpf_ktime_get_ns(), bytes, packets;
	__u32 headers;
	bool in;

	if (!p || !socket || !workload)
		return 0; /* never happens; a subprogram's pointers may be null to the verifier */
	in = p->direction == WEFT_INGRESS;
	key.netns = socket->netns;
	key.peer.addr = in ? p->packet.saddr : p->packet.daddr;
	key.peer.port = in ? p->packet.sport : p->packet.dport;
	key.peer.proto = IPPROTO_UDP;
	key.local.addr = in ? p->packet.daddr : p->packet.saddr;
	key.local.port = in ? p->packet.dport : p->packet.sport;
	key.local.proto = IPPROTO_UDP;
	headers = (__u32)p->packet.transport + WEFT_UDP_HEADER_BYTES;
	bytes = skb->len > headers ? skb->len - headers : 0;
	packets = skb->gso_segs ? skb->gso_segs : 1; /* one buffer may hold many datagrams (UDP_SEGMENT) */
	flow = bpf_map_lookup_elem(&weft_udp_flow, &key);
	if (flow) {
		udp_flow_add(flow, now, p->direction, bytes, packets);
		return 0;
	}
	__builtin_memset(&fresh, 0, sizeof fresh);
	fresh.first_ns = now;
	fresh.last_ns = now;
	if (in) {
		fresh.bytes_received = bytes;
		fresh.packets_received = packets;
	} else {
		fresh.bytes_sent = bytes;
		fresh.packets_sent = packets;
	}
	fresh.cookie = p->cookie;
	fresh.workload = workload->workload;
	fresh.rule = p->rule;
	fresh.direction = p->direction;
	udp_flow_service(&fresh, &key.peer, socket);
	if (bpf_map_update_elem(&weft_udp_flow, &key, &fresh, BPF_NOEXIST)) {
		flow = bpf_map_lookup_elem(&weft_udp_flow, &key); /* another CPU was first */
		if (flow)
			udp_flow_add(flow, now, p->direction, bytes, packets);
		else
			count_reason(WEFT_REASON_UDP_FLOW_FULL, p->direction);
		return 0;
	}
	count_add(in ? WEFT_COUNTER_UDP_RECEIVED_FIRST : WEFT_COUNTER_UDP_SENT_FIRST, 1);
	udp_flow_report(&key, &fresh, now, in ? WEFT_EVENT_ACCEPT : WEFT_EVENT_CONNECT);
	return 0;
}

#endif
