/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The first payload that a connection sends and receives, announced while somebody traces connections. Only observes:
 * it never changes a verdict. Nothing of it runs while WEFT_CONFIG_TRACE is not set.
 */
#ifndef WEFT_LIB_TRACE_BPF_H
#define WEFT_LIB_TRACE_BPF_H

#include "lib/event.bpf.h"
#include "lib/packet.bpf.h"
#include "weft/abi/socket.h"

/* Does this TCP packet, which begins at its network header, carry payload? Extension headers: not looked behind. */
static __always_inline bool trace_has_payload(struct __sk_buff *skb)
{
	__u32 offset = sizeof(struct ipv6hdr);
	__u8 byte;

	if (skb->protocol == bpf_htons(0x0800)) {
		if (bpf_skb_load_bytes(skb, 0, &byte, sizeof byte))
			return false;
		offset = (byte & 0x0f) * 4;
	} else if (bpf_skb_load_bytes(skb, offsetof(struct ipv6hdr, nexthdr), &byte, sizeof byte) ||
	           byte != IPPROTO_TCP) {
		return false;
	}
	/* The upper half of byte 12 is the TCP header's length in words. */
	return !bpf_skb_load_bytes(skb, offset + 12, &byte, sizeof byte) && skb->len > offset + (byte >> 4) * 4;
}

/* Only of connections that were announced: a connection's first byte comes after its beginning. */
static __noinline int trace_payload(struct __sk_buff *skb, struct weft_socket *socket, __u8 direction)
{
	struct weft_event *event;
	__u16 seen = direction == WEFT_EGRESS ? WEFT_SOCKET_SENT : WEFT_SOCKET_RECEIVED;

	if (!socket || (socket->flags & seen) || !(socket->flags & WEFT_SOCKET_OPEN) || !trace_has_payload(skb))
		return 0;
	socket->flags |= seen;
	event = event_begin(WEFT_EVENT_FIRST_BYTE, WEFT_REASON_NONE, direction);
	if (!event)
		return 0;
	event->cookie = bpf_get_socket_cookie(skb);
	event->netns = socket->netns;
	event_send(event);
	return 0;
}

#endif
