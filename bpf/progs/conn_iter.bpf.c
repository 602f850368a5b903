/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* iter/bpf_sk_storage_map: every tagged socket of the machine, for `weft conn list` and for finding stale UDP sockets.
 */
#include "lib/accel.bpf.h"
#include "lib/sock_ends.bpf.h"
#include "maps/socket.bpf.h"

/*
 * The kernel counts sequence numbers, of which SYN and FIN take one each (RFC 9293, section 3.4): our SYN when we
 * opened the connection, our FIN once acknowledged, the peer's once received.
 */
static __always_inline void conn_bytes(struct sock *sk, struct weft_conn *conn)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u64 ours, theirs;

	if (!tcp)
		return;
	ours = (conn->socket.role == WEFT_ROLE_CLIENT) + (conn->state == WEFT_TCP_FIN_WAIT2);
	theirs = (sk->__sk_common.skc_flags & (1UL << bpf_core_enum_value(enum sock_flags, SOCK_DONE))) != 0;
	conn->bytes_sent = tcp->bytes_acked > ours ? tcp->bytes_acked - ours : 0;
	conn->bytes_received = tcp->bytes_received > theirs ? tcp->bytes_received - theirs : 0;
}

/* What skipped TCP is in no count of TCP's. */
static __always_inline void conn_accel(struct sock *sk, struct weft_conn *conn)
{
	struct weft_accel *accel = bpf_sk_storage_get(&weft_accel, sk, NULL, 0);
	struct weft_accel_pair *pair;
	__u32 own;
	__u64 key;

	if (!accel)
		return;
	key = accel->pair;
	own = accel->end & 1;
	pair = bpf_map_lookup_elem(&weft_accel_pair, &key);
	if (!pair || !pair->cookie[WEFT_ACCEL_SERVER])
		return;
	conn->accel = WEFT_CONN_JOINED;
	if (pair->revision > conn->socket.revision) {
		conn->socket.revision = pair->revision; /* no packet asks any more: sk_msg judges both ends */
		conn->socket.verdict = WEFT_VERDICT_ALLOW;
	}
	if (pair->flags & (WEFT_ACCEL_LEFT | WEFT_ACCEL_TCP | WEFT_ACCEL_BIT(WEFT_ACCEL_TCP, WEFT_ACCEL_SERVER)))
		conn->accel = WEFT_CONN_LEFT;
	conn->bytes_sent += pair->bytes[own];
	conn->bytes_received += pair->bytes[own ^ 1];
	conn->bytes_skipped = pair->bytes[own] + pair->bytes[own ^ 1];
}

SEC("iter/bpf_sk_storage_map")
int weft_conn_iter(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct weft_socket *socket = ctx->value;
	struct weft_conn conn = {};

	if (!sk || !socket)
		return 0;
	conn.socket = *socket;
	conn.state = sk->__sk_common.skc_state;
	conn.cookie = bpf_get_socket_cookie(sk);
	conn.local.proto = (__u8)sk->sk_protocol;
	conn.remote.proto = conn.local.proto;
	conn.device = (__u32)sk->__sk_common.skc_bound_dev_if;
	if (sock_ends(&sk->__sk_common, &conn.local, &conn.remote))
		return 0;
	conn_bytes(sk, &conn);
	conn_accel(sk, &conn);
	/* A full buffer makes the iterator call again for the same socket. */
	(void)bpf_seq_write(ctx->meta->seq, &conn, sizeof conn);
	return 0;
}
