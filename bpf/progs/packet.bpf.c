/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * cgroup_skb/ingress, egress: the last word on every packet of a workload's socket, also of raw sockets and of
 * sockets that never called connect. Fails closed: the packet is dropped in silence and counted.
 */
#include "lib/enforce.bpf.h"
#include "lib/trace.bpf.h"
#include "lib/udp_flow.bpf.h"

/* Verdicts of cgroup_skb. On egress, 2 drops without telling the sender EPERM (it looks like a loss). */
#define WEFT_PASS 1
#define WEFT_DROP(direction) ((direction) == WEFT_EGRESS ? 2 : 0)

/* A socket without state is older than our hooks, or the kernel's own: its workload follows from its address. */
static __always_inline struct weft_socket *packet_adopt(struct bpf_sock *sk, struct weft_passage *p, bool *pass)
{
	const struct weft_addr *own = p->direction == WEFT_INGRESS ? &p->packet.daddr : &p->packet.saddr;
	struct weft_addr key = *own;
	struct weft_socket *socket;
	__u64 *netns;

	*pass = true;
	/* Resets and TIME_WAIT acknowledgements come from a raw socket of the kernel's. */
	if ((sk->type == SOCK_RAW && p->packet.proto == IPPROTO_TCP) || socket_is_kernels(sk)) {
		count_reason(WEFT_REASON_KERNEL_SOCKET, p->direction);
		return NULL;
	}
	netns = bpf_map_lookup_elem(&weft_local, &key);
	if (!netns) {
		*pass = addr_is_self(own) || addr_is_link_local(own) || addr_is_multicast(own) || unknown_may_pass();
		if (!*pass)
			count_reason(WEFT_REASON_UNKNOWN_WORKLOAD, p->direction);
		return NULL;
	}
	socket = bpf_sk_storage_get(&weft_socket, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!socket) {
		*pass = false;
		count_reason(WEFT_REASON_STORAGE_FAILED, p->direction);
		return NULL;
	}
	socket->netns = *netns;
	if (p->direction == WEFT_EGRESS && (p->packet.tcp_flags & (WEFT_TCP_SYN | WEFT_TCP_ACK)) == WEFT_TCP_SYN)
		socket->role = WEFT_ROLE_CLIENT;
	return socket;
}

/* Only the source address, for packets of which nothing else matters. */
static __always_inline bool packet_source(struct __sk_buff *skb, struct weft_addr *source)
{
	if (skb->protocol != bpf_htons(0x0800))
		return !bpf_skb_load_bytes(skb, offsetof(struct ipv6hdr, saddr), source, sizeof *source);
	source->word[0] = 0;
	source->word[1] = 0;
	source->word[2] = WEFT_V4_MAPPED_WORD;
	return !bpf_skb_load_bytes(skb, offsetof(struct iphdr, saddr), &source->word[3], sizeof source->word[3]);
}

/*
 * Does this TCP socket's verdict allow the packet without reading all of it? What may be left to check is the source
 * address: of the first packet that a connection sends, and of whatever a listener answers (which some kernels do not
 * show to this hook for IPv6, so it is checked again on what the listener accepts).
 */
static __always_inline bool packet_known(struct __sk_buff *skb, struct weft_socket *socket, bool listening,
                                         __u64 revision, __u8 direction)
{
	const struct weft_endpoint *workload;
	struct weft_addr source;

	if (socket->verdict != WEFT_VERDICT_ALLOW || socket->revision != revision || revision == 0)
		return false;
	if (listening && !(socket->flags & WEFT_SOCKET_LISTENS))
		return false;
	if (direction == WEFT_INGRESS || !(socket->flags & WEFT_SOCKET_UNSEEN))
		return true;
	workload = endpoint_of(socket);
	if (!workload || !packet_source(skb, &source) || !source_is_own(workload, &source))
		return false;
	if (!listening)
		socket->flags &= (__u16)~WEFT_SOCKET_UNSEEN;
	return true;
}

static __always_inline int packet_any(struct __sk_buff *skb, __u8 direction)
{
	struct weft_passage p = { .direction = direction, .judged = direction };
	const struct weft_config *config = config_get();
	struct bpf_sock *sk = skb->sk;
	const struct weft_endpoint *workload;
	struct weft_socket *socket;
	bool stream, listening, pass;

	if (!sk)
		return WEFT_PASS; /* cannot happen: the hook runs for sockets */
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return WEFT_PASS; /* nor can this: the hook is given the full socket */
	if (!config) {
		count_reason(WEFT_REASON_CONFIG_MISSING, direction);
		return WEFT_DROP(direction);
	}
	stream = sk->type == SOCK_STREAM && sk->protocol == IPPROTO_TCP;
	listening = sk->state == WEFT_TCP_LISTEN;
	socket = bpf_sk_storage_get(&weft_socket, sk, NULL, 0);
	if (socket) {
		if (socket->flags & WEFT_SOCKET_AGENT)
			return WEFT_PASS;
		if ((config->flags & WEFT_CONFIG_TRACE) && stream)
			trace_payload(skb, socket, direction);
		if (stream && packet_known(skb, socket, listening, config->revision, direction))
			return WEFT_PASS;
		if (stream && !listening && socket->verdict == WEFT_VERDICT_DENY &&
		    socket->revision == config->revision) {
			count_reason(WEFT_REASON_POLICY_DENIED, direction);
			(void)count_rule(endpoint_of(socket), WEFT_REASON_POLICY_DENIED, direction);
			return WEFT_DROP(direction);
		}
		workload = endpoint_of(socket);
		if (workload && (workload->flags & (WEFT_ENDPOINT_HOST | WEFT_ENDPOINT_EXTERNAL)))
			return WEFT_PASS;
	}
	p.revision = config->revision;
	p.cookie = bpf_get_socket_cookie(skb);
	if (packet_read(skb, 0, &p.packet)) {
		count_reason(WEFT_REASON_UNPARSABLE, direction);
		return WEFT_DROP(direction);
	}
	if (!socket) {
		socket = packet_adopt(sk, &p, &pass);
		if (!socket)
			return pass ? WEFT_PASS : WEFT_DROP(direction);
	}
	workload = endpoint_of(socket);
	if (!workload) {
		const struct weft_addr *peer = direction == WEFT_INGRESS ? &p.packet.saddr : &p.packet.daddr;

		if (addr_is_self(peer) || addr_is_link_local(peer) || addr_is_multicast(peer) || unknown_may_pass())
			return WEFT_PASS;
		passage_report(&p, socket->netns, NULL, WEFT_REASON_UNKNOWN_WORKLOAD);
		return WEFT_DROP(direction);
	}
	if (direction == WEFT_EGRESS && !source_is_own(workload, &p.packet.saddr)) {
		passage_report(&p, socket->netns, workload, WEFT_REASON_SPOOFED_SOURCE);
		return WEFT_DROP(direction);
	}
	if (!stream)
		pass = enforce_datagram(&p, socket->netns, workload);
	else if (listening)
		pass = enforce_listener(&p, socket, workload);
	else
		pass = enforce_stream(&p, socket, workload);
	if (pass) {
		/* A raw socket is given copies, so it is no end of a flow. */
		if (sk->type == SOCK_DGRAM && p.packet.proto == IPPROTO_UDP && !(config->flags & WEFT_CONFIG_UDP_OFF))
			(void)udp_flow_seen(skb, &p, socket, workload);
		return WEFT_PASS;
	}
	passage_report(&p, socket->netns, workload, WEFT_REASON_POLICY_DENIED);
	return WEFT_DROP(direction);
}

SEC("cgroup_skb/ingress")
int weft_ingress(struct __sk_buff *skb)
{
	return packet_any(skb, WEFT_INGRESS);
}

SEC("cgroup_skb/egress")
int weft_egress(struct __sk_buff *skb)
{
	return packet_any(skb, WEFT_EGRESS);
}
