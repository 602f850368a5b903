/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* iter/bpf_sk_storage_map: every tagged socket of the machine, for `weft conn list` and for finding stale UDP sockets.
 */
#include "maps/socket.bpf.h"

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
	conn.local.port = sk->__sk_common.skc_num;
	conn.local.proto = (__u8)sk->sk_protocol;
	conn.remote.port = bpf_ntohs(sk->__sk_common.skc_dport);
	conn.remote.proto = conn.local.proto;
	if (sk->__sk_common.skc_family == AF_INET) {
		conn.local.addr.word[2] = WEFT_V4_MAPPED_WORD;
		conn.local.addr.word[3] = sk->__sk_common.skc_rcv_saddr;
		conn.remote.addr.word[2] = WEFT_V4_MAPPED_WORD;
		conn.remote.addr.word[3] = sk->__sk_common.skc_daddr;
	} else if (bpf_core_read(&conn.local.addr, sizeof conn.local.addr, &sk->__sk_common.skc_v6_rcv_saddr) ||
	           bpf_core_read(&conn.remote.addr, sizeof conn.remote.addr, &sk->__sk_common.skc_v6_daddr)) {
		return 0; /* cannot happen for a live socket; a wrong address would be worse than a missing line */
	}
	/* A full buffer makes the iterator call again for the same socket. */
	(void)bpf_seq_write(ctx->meta->seq, &conn, sizeof conn);
	return 0;
}
