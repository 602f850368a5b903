/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How the two ends of a connection inside the node are joined, right after the handshake and before an application can
 * use either. For sockops only: sockets enter the map by its own helper. Fails to TCP.
 */
#ifndef WEFT_LIB_ACCEL_MEET_BPF_H
#define WEFT_LIB_ACCEL_MEET_BPF_H

#include "lib/accel.bpf.h"

/* Puts this socket where its peer finds it. Its storage is what tells the other hooks; NULL: it stays with TCP. */
static __always_inline struct weft_accel *accel_enter(struct bpf_sock_ops *ctx, struct tcp_sock *tcp, __u64 cookie)
{
	struct bpf_sock *sk = ctx->sk;
	struct weft_accel *accel;

	if (!sk)
		return NULL; /* cannot happen: the caller has it */
	accel = bpf_sk_storage_get(&weft_accel, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!accel || bpf_sock_hash_update(ctx, &weft_accel_sk, &cookie, BPF_NOEXIST)) {
		count_reason(WEFT_REASON_ACCEL_FULL, WEFT_EGRESS);
		if (accel)
			(void)bpf_sk_storage_delete(&weft_accel, sk); /* it is there */
		return NULL;
	}
	accel->write_seq = tcp->write_seq;
	accel->tcp = 0;
	return accel;
}

/* Has this socket sent nothing, and is it a workload's own plain TCP? Returns it, or NULL. */
static __always_inline struct tcp_sock *accel_fresh(struct bpf_sock_ops *ctx, const struct weft_socket *socket,
                                                    const struct weft_addr *local)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tcp;

	if (!sk || (socket->flags & (WEFT_SOCKET_AGENT | WEFT_SOCKET_MESH | WEFT_SOCKET_CARRIER)) ||
	    ctx->data_segs_out || !accel_workload(endpoint_of(socket), local))
		return NULL;
	tcp = bpf_skc_to_tcp_sock(sk);
	return tcp && accel_plain(tcp) ? tcp : NULL;
}

/* The end that connected: its handshake is complete, the other end's is not yet. */
static __always_inline void accel_offer(struct bpf_sock_ops *ctx, const struct weft_socket *socket,
                                        const struct weft_addr_port *local, const struct weft_addr_port *remote)
{
	struct tcp_sock *tcp = accel_fresh(ctx, socket, &local->addr);
	struct weft_accel_offer offer = {};
	struct weft_accel_tuple tuple;
	struct weft_accel *accel;

	if (!tcp || addr_port_equal(local, remote) || !accel_peer(&remote->addr))
		return;
	offer.cookie = bpf_get_socket_cookie(ctx);
	offer.netns = socket->netns;
	offer.kernel = (__u64)tcp;
	accel = accel_enter(ctx, tcp, offer.cookie);
	if (!accel)
		return;
	tuple.client = *local;
	tuple.server = *remote;
	tuple.client_seq = ctx->snd_nxt;
	tuple.server_seq = ctx->rcv_nxt;
	accel->pair = offer.cookie;
	accel->end = WEFT_ACCEL_CLIENT;
	accel->tuple = tuple;
	if (bpf_map_update_elem(&weft_accel_meet, &tuple, &offer, BPF_ANY))
		count_reason(WEFT_REASON_ACCEL_FULL, WEFT_EGRESS);
}

/* The end that accepted: takes the offer of its peer, if there is one. */
static __always_inline void accel_accept(struct bpf_sock_ops *ctx, const struct weft_socket *socket,
                                         const struct weft_addr_port *local, const struct weft_addr_port *remote)
{
	struct weft_accel_tuple tuple = {
		.client = *remote,
		.server = *local,
		.client_seq = ctx->rcv_nxt,
		.server_seq = ctx->snd_nxt,
	};
	struct tcp_sock *tcp = accel_fresh(ctx, socket, &local->addr);
	struct weft_accel_pair pair = {};
	struct weft_accel_offer *found;
	struct weft_accel *accel;
	__u64 key, cookie;

	if (!tcp)
		return;
	found = bpf_map_lookup_elem(&weft_accel_meet, &tuple);
	if (!found || found->netns != accel_peer(&remote->addr))
		return;
	pair.cookie[WEFT_ACCEL_CLIENT] = key = found->cookie;
	pair.netns[WEFT_ACCEL_CLIENT] = found->netns;
	pair.kernel[WEFT_ACCEL_CLIENT] = found->kernel;
	if (bpf_map_delete_elem(&weft_accel_meet, &tuple))
		return; /* the client has left or closed meanwhile */
	cookie = bpf_get_socket_cookie(ctx);
	accel = accel_enter(ctx, tcp, cookie);
	if (!accel)
		return;
	accel->pair = key;
	accel->end = WEFT_ACCEL_SERVER;
	accel->tuple = tuple;
	pair.cookie[WEFT_ACCEL_SERVER] = cookie;
	pair.netns[WEFT_ACCEL_SERVER] = socket->netns;
	pair.kernel[WEFT_ACCEL_SERVER] = (__u64)tcp;
	pair.end[WEFT_ACCEL_CLIENT] = *remote;
	pair.end[WEFT_ACCEL_SERVER] = *local;
	/* EEXIST: the client has left meanwhile */
	if (bpf_map_update_elem(&weft_accel_pair, &key, &pair, BPF_NOEXIST))
		count_reason(WEFT_REASON_ACCEL_FULL, WEFT_INGRESS);
	else
		count_add(WEFT_COUNTER_ACCEL_JOINED, 1);
}

#endif
