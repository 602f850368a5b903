/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * cgroup/sock_create: tags every socket with its network namespace, which names its workload.
 * cgroup/sock_release: takes it off its backend's count. Both fail open: what cannot be tagged is judged when it
 * connects or moves packets.
 */
#include "lib/socket.bpf.h"

SEC("cgroup/sock_create")
int weft_create(struct bpf_sock *ctx)
{
	struct weft_socket *socket;

	if (ctx->family != AF_INET && ctx->family != AF_INET6)
		return 1;
	socket = bpf_sk_storage_get(&weft_socket, ctx, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (socket)
		socket->netns = bpf_get_netns_cookie(ctx);
	else
		count_reason(WEFT_REASON_STORAGE_FAILED, WEFT_EGRESS);
	return 1;
}

SEC("cgroup/sock_release")
int weft_release(struct bpf_sock *ctx)
{
	struct weft_socket *socket = bpf_sk_storage_get(&weft_socket, ctx, NULL, 0);

	if (socket)
		socket_uncount(socket);
	return 1;
}
