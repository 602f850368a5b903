/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * cgroup/getpeername4,6: the application sees the address that it asked for, not the backend behind it.
 * Behind the agent's sockets it sees the real peer. Can only rename, so fails open.
 */
#include "lib/call.bpf.h"

static __always_inline int getpeername_any(struct bpf_sock_addr *ctx, bool v4)
{
	struct bpf_sock *sk = ctx->sk;
	struct weft_socket *socket;
	struct weft_addr_port shown, asked;

	if (!sk)
		return 1;
	socket = bpf_sk_storage_get(&weft_socket, sk, NULL, 0);
	if (!socket || !(socket->flags & (WEFT_SOCKET_TRANSLATED | WEFT_SOCKET_MESH)))
		return 1;
	call_read(ctx, v4, &shown);
	if ((socket->flags & WEFT_SOCKET_MESH) ||
	    (shown.port == socket->backend.port && addr_equal(&shown.addr, &socket->backend.addr))) {
		asked = socket->asked;
		call_write(ctx, v4, &asked);
	}
	return 1;
}

SEC("cgroup/getpeername4")
int weft_getpeer4(struct bpf_sock_addr *ctx)
{
	return getpeername_any(ctx, true);
}

SEC("cgroup/getpeername6")
int weft_getpeer6(struct bpf_sock_addr *ctx)
{
	return getpeername_any(ctx, false);
}
