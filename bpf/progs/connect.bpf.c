/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * cgroup/connect4, connect6: a Service address becomes a backend's, or the call is refused.
 * Also reached by TCP Fast Open (sendto with MSG_FASTOPEN) and, through connect6, by IPv4-mapped addresses.
 * Fails closed: ECONNREFUSED.
 */
#include "lib/mesh.bpf.h"

/* What a new connect makes of an old one on the same socket: nothing of it remains. */
static __always_inline void socket_forget(struct weft_socket *socket)
{
	socket_uncount(socket);
	socket->flags &=
		(__u16) ~(WEFT_SOCKET_TRANSLATED | WEFT_SOCKET_MESH | WEFT_SOCKET_UNSEEN | WEFT_SOCKET_LISTENS |
	                  WEFT_SOCKET_PLAINTEXT | WEFT_SOCKET_SENT | WEFT_SOCKET_RECEIVED);
	socket->role = WEFT_ROLE_NONE;
	socket->verdict = WEFT_VERDICT_UNKNOWN;
	socket->revision = 0;
	socket->service = 0;
}

static __always_inline int connect_any(struct bpf_sock_addr *ctx, bool v4)
{
	struct weft_call call = {};
	struct weft_socket *socket;
	const struct weft_endpoint *workload;
	struct weft_addr_port listener;
	const struct weft_config *config = config_get();
	__u64 revision = config ? config->revision : 0; /* read before the decision: a later change judges again */
	int begin;

	begin = call_begin(ctx, v4, &call, &socket, &workload);
	if (begin != WEFT_CALL_GO)
		return begin;
	socket_forget(socket);
	if (call_translate(&call, socket, workload))
		return call_refuse();
	if (call_decide(&call, workload) != WEFT_VERDICT_ALLOW) {
		call_report(&call, socket, workload, WEFT_EVENT_DENIED, WEFT_REASON_POLICY_DENIED);
		return call_refuse();
	}
	socket->role = WEFT_ROLE_CLIENT;
	socket->rule = call.rule;
	socket->verdict = WEFT_VERDICT_ALLOW;
	socket->revision = revision;
	socket->flags |= WEFT_SOCKET_UNSEEN;
	socket->connect_ns = bpf_ktime_get_ns();
	if (call.translated) {
		call_write(ctx, v4, &call.to);
		socket->asked = call.asked;
		socket->backend = call.to;
		socket->service = call.service;
		socket->flags |= WEFT_SOCKET_TRANSLATED | WEFT_SOCKET_COUNTED;
		conns_add(&call.to, 1);
	}
	if (!mesh_wanted(workload, &call.to))
		return WEFT_CALL_PASS;
	if (!workload->dial_port) {
		call_report(&call, socket, workload, WEFT_EVENT_DENIED, WEFT_REASON_MESH_NOT_READY);
		return call_refuse();
	}
	socket->asked = call.asked;
	socket->backend = call.to;
	socket->flags |= WEFT_SOCKET_MESH;
	mesh_listener(workload, &call.to, &listener);
	call_write(ctx, v4, &listener);
	return WEFT_CALL_PASS;
}

SEC("cgroup/connect4")
int weft_connect4(struct bpf_sock_addr *ctx)
{
	return connect_any(ctx, true);
}

SEC("cgroup/connect6")
int weft_connect6(struct bpf_sock_addr *ctx)
{
	return connect_any(ctx, false);
}
