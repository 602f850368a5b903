/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * cgroup/sendmsg4,6 and recvmsg4,6: the Service translation for datagrams that name their destination, and back.
 * One socket keeps one backend for one Service while that backend lives. sendmsg fails closed (ECONNREFUSED);
 * recvmsg can only rename, so it fails open.
 */
#include "lib/call.bpf.h"
#include "lib/track.bpf.h"

/* The backend that this socket already uses for this Service, if it still is one. */
static __always_inline bool nat_recall(const struct weft_call *call, struct weft_udp_nat *out)
{
	struct weft_udp_nat_key key = { .socket = call->cookie, .peer = call->asked, .kind = WEFT_UDP_FORWARD };
	const struct weft_udp_nat *known = bpf_map_lookup_elem(&weft_udp_nat, &key);

	if (!known)
		return false;
	*out = *known;
	return member_usable(out->service, &out->peer);
}

static __always_inline int nat_remember(const struct weft_call *call)
{
	struct weft_udp_nat_key key = { .socket = call->cookie, .peer = call->to, .kind = WEFT_UDP_REVERSE };
	struct weft_udp_nat value = { .service = call->service, .peer = call->asked };
	int result = (int)bpf_map_update_elem(&weft_udp_nat, &key, &value, BPF_ANY);

	if (result)
		return result;
	key.peer = call->asked;
	key.kind = WEFT_UDP_FORWARD;
	value.peer = call->to;
	return (int)bpf_map_update_elem(&weft_udp_nat, &key, &value, BPF_ANY);
}

static __always_inline int sendmsg_any(struct bpf_sock_addr *ctx, bool v4)
{
	struct weft_call call = {};
	struct weft_socket *socket;
	const struct weft_endpoint *workload;
	const struct weft_config *config;
	struct weft_udp_nat known;
	struct weft_flow flow = {};
	int begin;

	begin = call_begin(ctx, v4, &call, &socket, &workload);
	if (begin != WEFT_CALL_GO)
		return begin;
	if (nat_recall(&call, &known)) {
		call.to = known.peer;
		call.service = known.service;
		call.translated = true;
	} else {
		if (call_translate(&call, socket, workload))
			return call_refuse();
		if (call.translated && nat_remember(&call)) {
			count_reason(WEFT_REASON_UDP_NAT_FULL, WEFT_EGRESS);
			return call_refuse();
		}
	}
	if (call_decide(&call, workload) != WEFT_VERDICT_ALLOW) {
		config = config_get();
		flow.netns = socket->netns;
		flow.peer = call.to;
		flow.local_port = (__u16)ctx->sk->src_port;
		if (!config || !track_is_reply(workload, &flow, WEFT_EGRESS, config->revision)) {
			call_report(&call, socket, workload, WEFT_EVENT_DENIED, WEFT_REASON_POLICY_DENIED);
			return call_refuse();
		}
	}
	if (call.translated)
		call_write(ctx, v4, &call.to);
	return WEFT_CALL_PASS;
}

SEC("cgroup/sendmsg4")
int weft_sendmsg4(struct bpf_sock_addr *ctx)
{
	return sendmsg_any(ctx, true);
}

SEC("cgroup/sendmsg6")
int weft_sendmsg6(struct bpf_sock_addr *ctx)
{
	return sendmsg_any(ctx, false);
}

static __always_inline int recvmsg_any(struct bpf_sock_addr *ctx, bool v4)
{
	struct bpf_sock *sk = ctx->sk;
	struct weft_udp_nat_key key = { .kind = WEFT_UDP_REVERSE };
	const struct weft_udp_nat *known;
	struct weft_socket *socket;
	struct weft_addr_port asked;

	if (!sk)
		return WEFT_CALL_PASS;
	call_read(ctx, v4, &key.peer);
	key.peer.proto = IPPROTO_UDP;
	socket = bpf_sk_storage_get(&weft_socket, sk, NULL, 0);
	if (socket && (socket->flags & WEFT_SOCKET_TRANSLATED) && sk->state == WEFT_TCP_ESTABLISHED &&
	    addr_port_equal(&socket->backend, &key.peer)) {
		asked = socket->asked;
		call_write(ctx, v4, &asked);
		return WEFT_CALL_PASS;
	}
	key.socket = bpf_get_socket_cookie(ctx);
	known = bpf_map_lookup_elem(&weft_udp_nat, &key);
	if (known) {
		asked = known->peer;
		call_write(ctx, v4, &asked);
	}
	return WEFT_CALL_PASS;
}

SEC("cgroup/recvmsg4")
int weft_recvmsg4(struct bpf_sock_addr *ctx)
{
	return recvmsg_any(ctx, true);
}

SEC("cgroup/recvmsg6")
int weft_recvmsg6(struct bpf_sock_addr *ctx)
{
	return recvmsg_any(ctx, false);
}
