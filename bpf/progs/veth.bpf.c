/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tc, ingress of the host's end of a pod's veth pair: what the pod really sends, also from packet sockets, which no
 * cgroup hook sees. Checks the source of every IP packet, and judges those that begin a flow. Fails closed: dropped
 * and counted. Everything else goes on to whatever filter comes next.
 */
#include <linux/pkt_cls.h>

#include "lib/enforce.bpf.h"
#include "maps/veth.bpf.h"

#define WEFT_ICMP_ECHO_REQUEST 8
#define WEFT_ICMPV6_ECHO_REQUEST 128

/* May this source address be on the wire? Before it has an address, a host sends from the unspecified one. */
static __always_inline bool wire_source_is_own(const struct weft_endpoint *workload, const struct weft_addr *source)
{
	if (workload->flags & WEFT_ENDPOINT_ANY_SOURCE)
		return true;
	if (addr_equal(source, &workload->addr4) || addr_equal(source, &workload->addr6) || addr_is_link_local(source))
		return true;
	return source->word[3] == 0 && (addr_is_v4(source) || addr_is_self(source));
}

/*
 * Does this packet need a judgement of its own? Packets of connections belong to a first one that was judged; so do
 * later fragments. The kernel's own answers (errors, neighbour discovery, group membership) are nobody's flow.
 */
static __always_inline bool begins_flow(const struct weft_packet *packet)
{
	if (packet->later_fragment)
		return false;
	switch (packet->proto) {
	case IPPROTO_TCP:
		return (packet->tcp_flags & (WEFT_TCP_SYN | WEFT_TCP_ACK)) == WEFT_TCP_SYN;
	case IPPROTO_ICMP:
		return packet->icmp_type == WEFT_ICMP_ECHO_REQUEST;
	case IPPROTO_ICMPV6:
		return packet->icmp_type == WEFT_ICMPV6_ECHO_REQUEST;
	case IPPROTO_IGMP:
		return false;
	default:
		return true;
	}
}

static __always_inline bool wire_allows(struct weft_passage *p, __u64 netns, const struct weft_endpoint *workload)
{
	struct weft_flow flow;

	if (!(workload->flags & WEFT_ENDPOINT_ISOLATED_EGRESS) || !begins_flow(&p->packet))
		return true;
	passage_flow(p, netns, &flow);
	return passage_judge(p, workload, &flow, WEFT_EGRESS) == WEFT_VERDICT_ALLOW ||
	       (p->packet.proto != IPPROTO_TCP && track_is_reply(workload, &flow, WEFT_EGRESS, p->revision));
}

SEC("tc")
int weft_wire(struct __sk_buff *skb)
{
	struct weft_passage p = { .direction = WEFT_EGRESS, .judged = WEFT_EGRESS };
	const struct weft_config *config = config_get();
	const struct weft_endpoint *workload;
	__u32 device = skb->ifindex;
	__u64 netns, *found;

	found = bpf_map_lookup_elem(&weft_veth, &device);
	if (!found || (skb->protocol != bpf_htons(0x0800) && skb->protocol != bpf_htons(0x86dd)))
		return TC_ACT_UNSPEC;
	netns = *found;
	workload = bpf_map_lookup_elem(&weft_endpoint, &netns);
	if (!config || !workload) {
		if (unknown_may_pass())
			return TC_ACT_UNSPEC;
		count_reason(config ? WEFT_REASON_UNKNOWN_WORKLOAD : WEFT_REASON_CONFIG_MISSING, WEFT_EGRESS);
		return TC_ACT_SHOT;
	}
	if (workload->flags & (WEFT_ENDPOINT_HOST | WEFT_ENDPOINT_EXTERNAL))
		return TC_ACT_UNSPEC;
	if (packet_read(skb, WEFT_ETHERNET_BYTES, &p.packet)) {
		count_reason(WEFT_REASON_UNPARSABLE, WEFT_EGRESS);
		return TC_ACT_SHOT;
	}
	p.revision = config->revision;
	if (!wire_source_is_own(workload, &p.packet.saddr)) {
		passage_report(&p, netns, workload, WEFT_REASON_SPOOFED_SOURCE);
		return TC_ACT_SHOT;
	}
	if (wire_allows(&p, netns, workload))
		return TC_ACT_UNSPEC;
	passage_report(&p, netns, workload, WEFT_REASON_POLICY_DENIED);
	return TC_ACT_SHOT;
}
