/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Reading a packet's ends. cgroup_skb sees whole datagrams from the network header on: no fragments, no link layer. */
#ifndef WEFT_LIB_PACKET_BPF_H
#define WEFT_LIB_PACKET_BPF_H

#include "lib/addr.bpf.h"

/* Extension headers that are walked before a packet counts as unparsable (RFC 8200 wants each at most once). */
#define WEFT_MAX_EXTENSIONS 6

struct weft_packet {
	struct weft_addr saddr;
	struct weft_addr daddr;
	__u16 sport; /* host order; 0 for protocols without ports */
	__u16 dport;
	__u8 proto;
	__u8 tcp_flags; /* byte 13 of the TCP header */
	__u16 pad;
};

#define WEFT_TCP_SYN 0x02
#define WEFT_TCP_RST 0x04
#define WEFT_TCP_ACK 0x10

/* Skips IPv6 extension headers. Returns the transport header's offset, or a negative errno. */
static __always_inline int packet_skip_extensions(struct __sk_buff *skb, __u8 *proto)
{
	__u32 offset = sizeof(struct ipv6hdr);
	__u8 head[2];

	for (int i = 0; i < WEFT_MAX_EXTENSIONS; i++) {
		switch (*proto) {
		case IPPROTO_HOPOPTS:
		case IPPROTO_ROUTING:
		case IPPROTO_DSTOPTS:
			if (bpf_skb_load_bytes(skb, offset, head, sizeof head))
				return -EINVAL;
			*proto = head[0];
			offset += ((__u32)head[1] + 1) * 8;
			break;
		case IPPROTO_AH:
			if (bpf_skb_load_bytes(skb, offset, head, sizeof head))
				return -EINVAL;
			*proto = head[0];
			offset += ((__u32)head[1] + 2) * 4;
			break;
		case IPPROTO_FRAGMENT:
			return -EINVAL; /* reassembled before ingress, split after egress: somebody forged it */
		default:
			return (int)offset;
		}
	}
	return -E2BIG;
}

/* Fills *packet. Returns 0, or a negative errno when the headers cannot be read. */
static __noinline int packet_read(struct __sk_buff *skb, struct weft_packet *packet)
{
	__be16 ports[2];
	int offset;

	if (skb->protocol == bpf_htons(0x0800)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof ip))
			return -EINVAL;
		packet->saddr = addr_v4(ip.saddr);
		packet->daddr = addr_v4(ip.daddr);
		packet->proto = ip.protocol;
		offset = ip.ihl * 4;
	} else if (skb->protocol == bpf_htons(0x86dd)) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, 0, &ip, sizeof ip))
			return -EINVAL;
		__builtin_memcpy(&packet->saddr, &ip.saddr, sizeof packet->saddr);
		__builtin_memcpy(&packet->daddr, &ip.daddr, sizeof packet->daddr);
		packet->proto = ip.nexthdr;
		offset = packet_skip_extensions(skb, &packet->proto);
		if (offset < 0)
			return offset;
	} else {
		return -EINVAL;
	}
	packet->sport = 0;
	packet->dport = 0;
	packet->tcp_flags = 0;
	if (packet->proto == IPPROTO_TCP || packet->proto == IPPROTO_UDP || packet->proto == IPPROTO_SCTP) {
		if (bpf_skb_load_bytes(skb, (__u32)offset, ports, sizeof ports))
			return -EINVAL;
		packet->sport = bpf_ntohs(ports[0]);
		packet->dport = bpf_ntohs(ports[1]);
		if (packet->proto == IPPROTO_TCP &&
		    bpf_skb_load_bytes(skb, (__u32)offset + 13, &packet->tcp_flags, sizeof packet->tcp_flags))
			return -EINVAL;
	}
	return 0;
}

#endif
