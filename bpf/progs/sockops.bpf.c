/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* sockops: announces established and closed TCP connections, with what the kernel knows of them. Only observes. */
#include "lib/accel_meet.bpf.h"
#include "lib/event.bpf.h"
#include "lib/mesh.bpf.h"
#include "lib/traffic.bpf.h"

static __always_inline struct weft_socket *sockops_socket(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;

	return sk ? bpf_sk_storage_get(&weft_socket, sk, NULL, 0) : NULL;
}

static __always_inline void sockops_end(struct bpf_sock_ops *ctx, bool local, struct weft_addr_port *end)
{
	__builtin_memset(end, 0, sizeof *end);
	end->proto = IPPROTO_TCP;
	end->port = local ? (__u16)ctx->local_port : (__u16)bpf_ntohl(ctx->remote_port); /* network order in 32 bits */
	if (ctx->family == AF_INET) {
		end->addr = addr_v4(local ? ctx->local_ip4 : ctx->remote_ip4);
		/* Keeps clang from sharing one load with a computed offset, which every verifier refuses for a context.
		 */
		asm volatile("");
	} else if (local) {
		end->addr.word[0] = ctx->local_ip6[0];
		end->addr.word[1] = ctx->local_ip6[1];
		end->addr.word[2] = ctx->local_ip6[2];
		end->addr.word[3] = ctx->local_ip6[3];
	} else {
		end->addr.word[0] = ctx->remote_ip6[0];
		end->addr.word[1] = ctx->remote_ip6[1];
		end->addr.word[2] = ctx->remote_ip6[2];
		end->addr.word[3] = ctx->remote_ip6[3];
	}
}

/* The other end as it is known outside: an application's connection by mutual TLS leads to the agent. */
static __always_inline void sockops_remote(struct bpf_sock_ops *ctx, const struct weft_socket *socket,
                                           struct weft_addr_port *remote)
{
	if (socket->flags & WEFT_SOCKET_MESH)
		*remote = socket->role == WEFT_ROLE_CLIENT ? socket->backend : socket->asked;
	else
		sockops_end(ctx, false, remote);
}

static __always_inline bool sockops_mutual_tls(const struct weft_socket *socket)
{
	return (socket->flags & WEFT_SOCKET_MESH) && !(socket->flags & WEFT_SOCKET_PLAINTEXT);
}

static __always_inline void sockops_ends(struct bpf_sock_ops *ctx, struct weft_event *event,
                                         const struct weft_socket *socket)
{
	sockops_end(ctx, true, &event->local);
	sockops_remote(ctx, socket, &event->remote);
	if (sockops_mutual_tls(socket))
		event->flags |= WEFT_EVENT_MUTUAL_TLS;
	event->asked = socket->flags & WEFT_SOCKET_TRANSLATED ? socket->asked : event->remote;
	event->cookie = bpf_get_socket_cookie(ctx);
	event->netns = socket->netns;
	event->rule = socket->rule;
	event->service = socket->service;
}

static __always_inline void name_workload(struct weft_event *event, const struct weft_socket *socket)
{
	const struct weft_endpoint *workload = endpoint_of(socket);

	if (!workload)
		return;
	event->workload = workload->workload;
	if ((socket->flags & WEFT_SOCKET_MESH) && addr_is_self(&event->local.addr)) /* on its way to the agent */
		event->local.addr = addr_is_v4(&event->local.addr) ? workload->addr4 : workload->addr6;
}

/* Only a connection from an address to itself can be the agent's. */
static __always_inline void sockops_recognise(struct bpf_sock_ops *ctx, struct weft_socket *socket)
{
	struct weft_addr_port local, remote;

	sockops_end(ctx, true, &local);
	sockops_end(ctx, false, &remote);
	if (addr_equal(&local.addr, &remote.addr))
		mesh_recognise(socket, &remote);
}

/* The source port is known now, and the listener cannot have accepted yet. */
static __always_inline void sockops_announce(struct bpf_sock_ops *ctx)
{
	struct weft_socket *socket = sockops_socket(ctx);
	struct weft_addr_port local;

	if (!socket || !(socket->flags & WEFT_SOCKET_MESH))
		return;
	sockops_end(ctx, true, &local);
	mesh_announce(socket, &local, bpf_get_socket_cookie(ctx));
}

/* The storage stays with a socket that connects again, and is filled anew. */
static __always_inline void sockops_count_open(struct bpf_sock_ops *ctx, const struct weft_socket *socket, __u64 now,
                                               __u8 direction)
{
	const struct weft_endpoint *workload = endpoint_of(socket);
	struct weft_addr_port remote;
	struct weft_counted *counted;
	struct bpf_sock *sk = ctx->sk;

	if (!sk || !workload || (workload->flags & (WEFT_ENDPOINT_HOST | WEFT_ENDPOINT_EXTERNAL)))
		return;
	counted = bpf_sk_storage_get(&weft_counted, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!counted) {
		count_reason(WEFT_REASON_TRAFFIC_LOST, direction);
		return;
	}
	sockops_remote(ctx, socket, &remote);
	__builtin_memset(&counted->key, 0, sizeof counted->key);
	counted->key.workload = workload->identity;
	counted->key.peer = traffic_peer(workload, &remote.addr);
	counted->key.service = direction == WEFT_EGRESS ? socket->service : 0;
	counted->key.direction = direction;
	counted->key.mutual_tls = sockops_mutual_tls(socket);
	(void)traffic_open(counted, now); /* counts what it cannot do */
}

static __always_inline void sockops_count_close(struct bpf_sock_ops *ctx, __u64 sent, __u64 received)
{
	struct bpf_sock *sk = ctx->sk;
	struct weft_counted *counted = sk ? bpf_sk_storage_get(&weft_counted, sk, NULL, 0) : NULL;

	if (counted)
		(void)traffic_close(counted, sent, received); /* a sum that is gone needs no close */
}

/* Both ends pass here before their application can use them: see docs/acceleration.md. */
static __noinline int sockops_join(struct bpf_sock_ops *ctx, const struct weft_socket *socket, __u8 direction)
{
	struct weft_addr_port local, remote;

	if (!socket)
		return 0; /* never happens; a subprogram's pointers may be null to the verifier */
	sockops_end(ctx, true, &local);
	sockops_end(ctx, false, &remote);
	if (direction == WEFT_EGRESS)
		accel_offer(ctx, socket, &local, &remote);
	else
		accel_accept(ctx, socket, &local, &remote);
	return 0;
}

static __always_inline void established(struct bpf_sock_ops *ctx, __u8 kind, __u8 direction)
{
	struct weft_socket *socket = sockops_socket(ctx);
	struct weft_event *event;
	__u64 now = bpf_ktime_get_ns(), took = 0;

	if (!socket || (socket->flags & (WEFT_SOCKET_AGENT | WEFT_SOCKET_CARRIER)))
		return;
	if (direction == WEFT_INGRESS) {
		socket->role = WEFT_ROLE_NONE; /* whatever its listener was before it listened */
		sockops_recognise(ctx, socket);
	}
	(void)bpf_sock_ops_cb_flags_set(ctx, BPF_SOCK_OPS_STATE_CB_FLAG); /* can only fail on a request socket */
	socket->flags |= WEFT_SOCKET_OPEN;
	(void)sockops_join(ctx, socket, direction); /* what is not joined stays with TCP */
	count_add(direction == WEFT_EGRESS ? WEFT_COUNTER_CONNECTS : WEFT_COUNTER_ACCEPTS, 1);
	sockops_count_open(ctx, socket, now, direction);
	if (direction == WEFT_INGRESS)
		socket->connect_ns = now;
	else if (socket->connect_ns)
		took = now - socket->connect_ns;
	if (took)
		(void)traffic_duration(WEFT_DURATION_CONNECT, direction, took / 1000);
	event = event_begin_at(now, kind, WEFT_REASON_NONE, direction);
	if (!event)
		return;
	sockops_ends(ctx, event, socket);
	name_workload(event, socket);
	event->duration_ns = took;
	event_send(event);
}

/*
 * The kernel's byte counts contain the sequence numbers that SYN and FIN take (RFC 9293, section 3.4): our own SYN when
 * we opened the connection, our FIN once acknowledged, the peer's FIN once received. For ours the state that is left
 * tells.
 */
static __always_inline __u64 payload_sent(struct bpf_sock_ops *ctx, const struct weft_socket *socket, __u32 old_state)
{
	__u64 flags = socket->role == WEFT_ROLE_CLIENT;

	if (old_state == WEFT_TCP_FIN_WAIT2 || old_state == WEFT_TCP_TIME_WAIT || old_state == WEFT_TCP_LAST_ACK ||
	    old_state == WEFT_TCP_CLOSING)
		flags++;
	return ctx->bytes_acked > flags ? ctx->bytes_acked - flags : 0;
}

/* A socket that has closed first is gone before the peer's FIN arrives, so its state does not tell. */
static __always_inline bool fin_received(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tcp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	return tcp &&
	       ((struct sock *)tcp)->__sk_common.skc_flags & (1UL << bpf_core_enum_value(enum sock_flags, SOCK_DONE));
}

static __always_inline __u64 payload_received(struct bpf_sock_ops *ctx)
{
	return ctx->bytes_received && fin_received(ctx) ? ctx->bytes_received - 1 : ctx->bytes_received;
}

/* Whose end ended it? A reset that was received leaves an error at the socket before its state changes. */
static __always_inline __u8 ending(struct bpf_sock_ops *ctx, __u32 old_state)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tcp;

	switch (old_state) {
	case WEFT_TCP_FIN_WAIT1:
	case WEFT_TCP_FIN_WAIT2:
	case WEFT_TCP_CLOSING:
	case WEFT_TCP_TIME_WAIT:
		return WEFT_EVENT_LOCAL_END;
	case WEFT_TCP_ESTABLISHED:
	case WEFT_TCP_CLOSE_WAIT: /* an orderly close goes through FIN_WAIT or LAST_ACK */
		tcp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;
		return WEFT_EVENT_RESET | (tcp && !((struct sock *)tcp)->sk_err ? WEFT_EVENT_LOCAL_END : 0);
	default:
		return 0;
	}
}

static __always_inline void closed(struct bpf_sock_ops *ctx, __u32 old_state)
{
	struct weft_socket *socket = sockops_socket(ctx);
	struct bpf_sock *sk = ctx->sk;
	__u8 direction;
	struct weft_event *event;
	__u64 now = bpf_ktime_get_ns(), sent, received, life = 0;
	__u32 srtt_us = ctx->srtt_us >> 3; /* the kernel keeps eighths of a microsecond */

	if (!socket)
		return;
	socket_uncount(socket);
	if (!(socket->flags & WEFT_SOCKET_OPEN))
		return;
	socket->flags &= (__u16)~WEFT_SOCKET_OPEN;
	count_add(WEFT_COUNTER_CLOSES, 1);
	sent = payload_sent(ctx, socket, old_state);
	received = payload_received(ctx);
	if (sk)
		accel_close(sk, &sent, &received);
	count_add(WEFT_COUNTER_BYTES_SENT, sent);
	count_add(WEFT_COUNTER_BYTES_RECEIVED, received);
	count_add(WEFT_COUNTER_RETRANSMITS, ctx->total_retrans);
	sockops_count_close(ctx, sent, received);
	direction = socket->role == WEFT_ROLE_CLIENT ? WEFT_EGRESS : WEFT_INGRESS;
	if (socket->connect_ns) {
		life = now - socket->connect_ns;
		(void)traffic_duration(WEFT_DURATION_LIFE, direction, life / 1000);
	}
	if (srtt_us)
		(void)traffic_duration(WEFT_DURATION_SRTT, direction, srtt_us);
	event = event_begin_at(now, WEFT_EVENT_CLOSE, WEFT_REASON_NONE, direction);
	if (!event)
		return;
	sockops_ends(ctx, event, socket);
	name_workload(event, socket);
	event->duration_ns = life;
	event->bytes_sent = sent;
	event->bytes_received = received;
	event->packets_sent = ctx->segs_out;
	event->packets_received = ctx->segs_in;
	event->srtt_us = srtt_us;
	event->retransmits = ctx->total_retrans;
	event->flags |= ending(ctx, old_state);
	event_send(event);
}

SEC("sockops")
int weft_sockops(struct bpf_sock_ops *ctx)
{
	switch (ctx->op) {
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		established(ctx, WEFT_EVENT_CONNECT, WEFT_EGRESS);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		established(ctx, WEFT_EVENT_ACCEPT, WEFT_INGRESS);
		break;
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		sockops_announce(ctx);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ctx->args[1] == WEFT_TCP_CLOSE)
			closed(ctx, ctx->args[0]);
		break;
	}
	return 1;
}
