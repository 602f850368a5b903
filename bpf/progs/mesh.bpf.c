/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sk_lookup in a pod's network namespace: who may open a connection to an enrolled workload, and to which listener it
 * goes. From an enrolled peer of another node it goes to the agent's, on whatever port. Fails closed: the peer is
 * reset.
 */
#include "lib/event.bpf.h"
#include "lib/mesh.bpf.h"

static __always_inline void steer_report(const struct weft_addr_port *local, const struct weft_addr_port *remote,
                                         const struct weft_endpoint *workload, __u64 netns, __u8 reason)
{
	struct weft_event *event;

	count_reason(reason, WEFT_INGRESS);
	event = event_begin(WEFT_EVENT_DENIED, reason, WEFT_INGRESS);
	if (!event)
		return;
	event->flags = WEFT_EVENT_PACKET;
	event->netns = netns;
	event->workload = workload->workload;
	event->local = *local;
	event->remote = *remote;
	event->asked = *remote;
	event_send(event);
}

static __always_inline int steer_to_agent(struct bpf_sk_lookup *ctx, __u64 netns)
{
	struct weft_mesh_listen_key key = { .netns = netns, .family = ctx->family };
	struct bpf_sock *listener = bpf_map_lookup_elem(&weft_mesh_lstn, &key);
	long result;

	if (!listener)
		return -ENOENT;
	result = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	return (int)result;
}

SEC("sk_lookup")
int weft_steer(struct bpf_sk_lookup *ctx)
{
	struct weft_addr_port local = { .proto = IPPROTO_TCP }, remote = { .proto = IPPROTO_TCP };
	const struct weft_endpoint *workload, *sender;
	const struct weft_peer *peer;
	__u64 netns, *found;
	const __u32 *mode;
	bool strict;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (ctx->family == AF_INET) {
		local.addr = addr_v4(ctx->local_ip4);
		remote.addr = addr_v4(ctx->remote_ip4);
	} else {
		for (int i = 0; i < 4; i++) {
			local.addr.word[i] = ctx->local_ip6[i];
			remote.addr.word[i] = ctx->remote_ip6[i];
		}
	}
	local.port = (__u16)ctx->local_port;
	remote.port = bpf_ntohs((__u16)ctx->remote_port);
	found = bpf_map_lookup_elem(&weft_local, &local.addr);
	if (!found || addr_equal(&local.addr, &remote.addr))
		return SK_PASS;
	netns = *found;
	workload = bpf_map_lookup_elem(&weft_endpoint, &netns);
	if (!workload || !(workload->flags & WEFT_ENDPOINT_MESH))
		return SK_PASS;
	mode = bpf_map_lookup_elem(&weft_tls_port, &local);
	if (mode && *mode == WEFT_TLS_OFF)
		return SK_PASS;
	strict = mode ? *mode == WEFT_TLS_STRICT : (workload->flags & WEFT_ENDPOINT_STRICT) != 0;
	peer = weft_peer_of(&remote.addr);
	if (peer && (peer->flags & WEFT_PEER_DIALS)) {
		if (!steer_to_agent(ctx, netns))
			return SK_PASS;
		steer_report(&local, &remote, workload, netns, WEFT_REASON_MESH_NOT_READY);
		return SK_DROP;
	}
	if (!strict)
		return SK_PASS;
	found = bpf_map_lookup_elem(&weft_local, &remote.addr);
	if (found) {
		netns = *found;
		sender = bpf_map_lookup_elem(&weft_endpoint, &netns);
		if (sender && (sender->flags & WEFT_ENDPOINT_HOST))
			count_reason(WEFT_REASON_PLAINTEXT_FROM_NODE, WEFT_INGRESS);
		return SK_PASS; /* bytes between workloads of one node do not leave the kernel */
	}
	if (peer && (peer->flags & WEFT_PEER_LOCAL_NODE)) {
		count_reason(WEFT_REASON_PLAINTEXT_FROM_NODE, WEFT_INGRESS);
		return SK_PASS;
	}
	steer_report(&local, &remote, workload, netns, WEFT_REASON_PLAINTEXT_REFUSED);
	return SK_DROP;
}

/* cgroup/getsockname4,6: a diverted socket is on loopback; the application sees the pod's address. Can only rename. */
static __always_inline int getsockname_any(struct bpf_sock_addr *ctx, bool v4)
{
	struct bpf_sock *sk = ctx->sk;
	const struct weft_endpoint *workload;
	struct weft_socket *socket;
	struct weft_addr_port shown;

	if (!sk)
		return 1;
	socket = bpf_sk_storage_get(&weft_socket, sk, NULL, 0);
	if (!socket || !(socket->flags & WEFT_SOCKET_MESH) || socket->role != WEFT_ROLE_CLIENT)
		return 1;
	call_read(ctx, v4, &shown);
	workload = endpoint_of(socket);
	if (!workload || !addr_is_self(&shown.addr))
		return 1;
	shown.addr = addr_is_v4(&shown.addr) ? workload->addr4 : workload->addr6;
	call_write(ctx, v4, &shown);
	return 1;
}

SEC("cgroup/getsockname4")
int weft_getsock4(struct bpf_sock_addr *ctx)
{
	return getsockname_any(ctx, true);
}

SEC("cgroup/getsockname6")
int weft_getsock6(struct bpf_sock_addr *ctx)
{
	return getsockname_any(ctx, false);
}
