/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Reading a packet's ends. cgroup_skb sees whole datagrams from the network header on; on the wire there are fragments,
 * and a link layer before them.
 */
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
	__u8 tcp_flags;      /* byte 13 of the TCP header */
	__u8 icmp_type;      /* 0 for protocols without */
	bool later_fragment; /* not the first: it has no transport header */
	__u16 transport;     /* UDP: where its header begins, from the network header on */
	__u16 pad;
};

#define WEFT_TCP_SYN 0x02
#define WEFT_TCP_RST 0x04
#define WEFT_TCP_ACK 0x10

/* Length of the link layer's header at a tc hook of an Ethernet device. */
#define WEFT_ETHERNET_BYTES 14

/* The fragment offset's bits in both families' headers; zero in the first fragment and in whole datagrams. */
#define WEFT_V4_FRAGMENT_OFFSET 0x1fff
#define WEFT_V6_FRAGMENT_OFFSET 0xfff8

/* Skips IPv6 extension headers from `offset` on. Returns the transport header's offset, or a negative errno. */
static __always_inline int packet_skip_extensions(struct __sk_buff *skb, __u32 offset, bool wire,
                                                  struct weft_packet *packet)
{
	__u8 *proto = &packet->proto;
	__be16 fragment;
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
			if (!wire)
				return -EINVAL; /* reassembled before ingress, split after egress: forged */
			if (bpf_skb_load_bytes(skb, offset, head, sizeof head) ||
			    bpf_skb_load_bytes(skb, offset + 2, &fragment, sizeof fragment))
				return -EINVAL;
			*proto = head[0];
			offset += 8;
			if (fragment & bpf_htons(WEFT_V6_FRAGMENT_OFFSET)) {
				packet->later_fragment = true;
				return (int)offset;
			}
			break;
		default:
			return (int)offset;
		}
	}
	return -E2BIG;
}

/*
 * Fills *packet from the network header at `start`: 0 at a socket's hooks, WEFT_ETHERNET_BYTES on the wire. Returns 0,
 * or a negative errno when the headers cannot be read.
 */
static __noinline int packet_read(struct __sk_buff *skb, __u32 start, struct weft_packet *packet)
{
	__be16 ports[2];
	int offset;

	packet->later_fragment = false;
	packet->sport = 0;
	packet->dport = 0;
	packet->tcp_flags = 0;
	packet->icmp_type = 0;
	packet->transport = 0;
	if (skb->protocol == bpf_htons(0x0800)) {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, start, &ip, sizeof ip))
			return -EINVAL;
		packet->saddr = addr_v4(ip.saddr);
		packet->daddr = addr_v4(ip.daddr);
		packet->proto = ip.protocol;
		packet->later_fragment = ip.frag_off & bpf_htons(WEFT_V4_FRAGMENT_OFFSET);
		offset = (int)start + ip.ihl * 4;
	} else if (skb->protocol == bpf_htons(0x86dd)) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, start, &ip, sizeof ip))
			return -EINVAL;
		__builtin_memcpy(&packet->saddr, &ip.saddr, sizeof packet->saddr);
		__builtin_memcpy(&packet->daddr, &ip.daddr, sizeof packet->daddr);
		packet->proto = ip.nexthdr;
		offset = packet_skip_extensions(skb, start + sizeof ip, start != 0, packet);
		if (offset < 0)
			return offset;
	} else {
		return -EINVAL;
	}
	if (packet->later_fragment)
		return 0;
	switch (packet->proto) {
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return bpf_skb_load_bytes(skb, (__u32)offset, &packet->icmp_type, sizeof packet->icmp_type) ? -EINVAL :
		                                                                                              0;
	case IPPROTO_TCP:
		if (bpf_skb_load_bytes(skb, (__u32)offset + 13, &packet->tcp_flags, sizeof packet->tcp_flags))
			return -EINVAL;
		break;
	case IPPROTO_UDP:
		packet->transport = (__u16)((__u32)offset - start);
		break;
	case IPPROTO_SCTP:
		break;
	default:
		return 0;
	}
	if (bpf_skb_load_bytes(skb, (__u32)offset, ports, sizeof ports))
		return -EINVAL;
	packet->sport = bpf_ntohs(ports[0]);
	packet->dport = bpf_ntohs(ports[1]);
	return 0;
}

#endif
