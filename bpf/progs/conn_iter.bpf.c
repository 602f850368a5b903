/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* iter/bpf_sk_storage_map: every tagged socket of the machine, for `weft conn list` and for finding stale UDP sockets.
 */
#include "lib/sock_ends.bpf.h"
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
	conn.local.proto = (__u8)sk->sk_protocol;
	conn.remote.proto = conn.local.proto;
	conn.device = (__u32)sk->__sk_common.skc_bound_dev_if;
	if (sock_ends(&sk->__sk_common, &conn.local, &conn.remote))
		return 0;
	/* A full buffer makes the iterator call again for the same socket. */
	(void)bpf_seq_write(ctx->meta->seq, &conn, sizeof conn);
	return 0;
}
