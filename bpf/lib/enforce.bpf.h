/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Does this packet pass? Connection-oriented sockets are judged once per policy revision, in the direction in which
 * the connection was opened; everything else is judged packet by packet, with replies tracked.
 */
#ifndef WEFT_LIB_ENFORCE_BPF_H
#define WEFT_LIB_ENFORCE_BPF_H

#include "lib/event.bpf.h"
#include "lib/packet.bpf.h"
#include "lib/policy.bpf.h"
#include "lib/rule_drops.bpf.h"
#include "lib/socket.bpf.h"
#include "lib/track.bpf.h"

/* One packet at one workload. */
struct weft_passage {
	struct weft_packet packet;
	__u64 revision;
	__u64 cookie;
	__u64 rule;
	__u8 direction; /* of the packet */
	__u8 judged;    /* direction of the flow that was judged */
	__u16 pad;
	__u32 pad2;
};

static __always_inline void passage_flow(const struct weft_passage *p, __u64 netns, struct weft_flow *flow)
{
	bool in = p->direction == WEFT_INGRESS;

	__builtin_memset(flow, 0, sizeof *flow);
	flow->netns = netns;
	flow->peer.addr = in ? p->packet.saddr : p->packet.daddr;
	flow->peer.port = in ? p->packet.sport : p->packet.dport;
	flow->peer.proto = p->packet.proto;
	flow->local_port = in ? p->packet.dport : p->packet.sport;
}

static __always_inline int passage_judge(struct weft_passage *p, const struct weft_endpoint *workload,
                                         const struct weft_flow *flow, __u8 direction)
{
	struct weft_question question = { .peer = flow->peer.addr, .proto = flow->peer.proto };

	question.direction = direction;
	question.port_be = bpf_htons(direction == WEFT_INGRESS ? flow->local_port : flow->peer.port);
	p->judged = direction;
	return policy_decide(workload, &question, &p->rule);
}

static __always_inline void passage_report(const struct weft_passage *p, __u64 netns,
                                           const struct weft_endpoint *workload, __u8 reason)
{
	bool in = p->direction == WEFT_INGRESS;
	struct weft_event *event;

	count_reason(reason, p->direction);
	(void)count_rule(workload, reason, p->direction);
	event = event_begin(WEFT_EVENT_DENIED, reason, p->judged);
	if (!event)
		return;
	event->flags = WEFT_EVENT_PACKET;
	event->cookie = p->cookie;
	event->netns = netns;
	event->workload = workload ? workload->workload : 0;
	event->local.addr = in ? p->packet.daddr : p->packet.saddr;
	event->local.port = in ? p->packet.dport : p->packet.sport;
	event->local.proto = p->packet.proto;
	event->remote.addr = in ? p->packet.saddr : p->packet.daddr;
	event->remote.port = in ? p->packet.sport : p->packet.dport;
	event->remote.proto = p->packet.proto;
	event->asked = event->remote;
	event_send(event);
}

/* Is the source the workload's own? Loopback and link-local addresses are any workload's own. */
static __always_inline bool source_is_own(const struct weft_endpoint *workload, const struct weft_addr *source)
{
	if (workload->flags & (WEFT_ENDPOINT_HOST | WEFT_ENDPOINT_ANY_SOURCE | WEFT_ENDPOINT_EXTERNAL))
		return true;
	return addr_equal(source, &workload->addr4) || addr_equal(source, &workload->addr6) || addr_is_self(source) ||
	       addr_is_link_local(source);
}

/* A listening socket: it may have connected before it listened, and what it accepts inherits its state. */
static __always_inline bool enforce_listener(struct weft_passage *p, struct weft_socket *socket,
                                             const struct weft_endpoint *workload)
{
	struct weft_flow flow;

	socket_uncount(socket);
	socket->flags &= (__u16) ~(WEFT_SOCKET_TRANSLATED | WEFT_SOCKET_MESH | WEFT_SOCKET_PLAINTEXT |
	                           WEFT_SOCKET_SENT | WEFT_SOCKET_RECEIVED);
	socket->role = WEFT_ROLE_NONE;
	if (!(workload->flags & WEFT_ENDPOINT_ISOLATED_INGRESS)) {
		/* Whoever calls may come in, so the next packets and connections need no judgement but of their source.
		 */
		socket->rule = 0;
		socket->verdict = WEFT_VERDICT_ALLOW;
		socket->revision = p->revision;
		socket->flags |= WEFT_SOCKET_LISTENS | WEFT_SOCKET_UNSEEN;
		return true;
	}
	socket->revision = 0; /* each caller is judged by itself */
	passage_flow(p, socket->netns, &flow);
	return passage_judge(p, workload, &flow, WEFT_INGRESS) == WEFT_VERDICT_ALLOW;
}

/* A connected TCP socket: one judgement for the connection, in the direction in which it was opened. */
static __always_inline bool enforce_stream(struct weft_passage *p, struct weft_socket *socket,
                                           const struct weft_endpoint *workload)
{
	struct weft_flow flow;
	bool allow;

	passage_flow(p, socket->netns, &flow);
	if ((socket->flags & WEFT_SOCKET_MESH) && socket->role == WEFT_ROLE_CLIENT)
		flow.peer = socket->backend; /* the packet only goes to the agent */
	allow = passage_judge(p, workload, &flow, socket->role == WEFT_ROLE_CLIENT ? WEFT_EGRESS : WEFT_INGRESS) ==
	        WEFT_VERDICT_ALLOW;
	socket->rule = p->rule;
	socket->verdict = allow ? WEFT_VERDICT_ALLOW : WEFT_VERDICT_DENY;
	socket->revision = p->revision;
	return allow;
}

/* Everything else: this packet's own direction first, then as a reply. */
static __always_inline bool enforce_datagram(struct weft_passage *p, __u64 netns, const struct weft_endpoint *workload)
{
	__u8 other = p->direction == WEFT_INGRESS ? WEFT_EGRESS : WEFT_INGRESS;
	__u32 needs_track =
		p->direction == WEFT_INGRESS ? WEFT_ENDPOINT_ISOLATED_EGRESS : WEFT_ENDPOINT_ISOLATED_INGRESS;
	struct weft_flow flow;

	passage_flow(p, netns, &flow);
	if (passage_judge(p, workload, &flow, p->direction) != WEFT_VERDICT_ALLOW)
		return track_is_reply(workload, &flow, p->direction, p->revision);
	if ((workload->flags & needs_track) && track_open(&flow, other, p->revision)) {
		count_reason(WEFT_REASON_UDP_TRACK_FULL, p->direction);
		return false;
	}
	return true;
}

#endif
