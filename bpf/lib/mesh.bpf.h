/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections that go by mutual TLS: the application's socket is connected to the agent's listener in the same network
 * namespace, and both hooks and agent remember whom it means. Fails closed: no listener, no connection.
 */
#ifndef WEFT_LIB_MESH_BPF_H
#define WEFT_LIB_MESH_BPF_H

#include "lib/call.bpf.h"
#include "lib/policy.bpf.h"
#include "maps/mesh.bpf.h"

/*
 * Does this workload reach that peer by mutual TLS? Only what is published counts, on both ends: before a workload is
 * published its peers' agents may not know yet that its connections are theirs to take.
 */
static __always_inline bool mesh_wanted(const struct weft_endpoint *workload, const struct weft_addr_port *to)
{
	const struct weft_peer *peer;
	const __u32 *mode;

	if (!(workload->flags & WEFT_ENDPOINT_DIALS) || to->proto != IPPROTO_TCP)
		return false;
	peer = weft_peer_of(&to->addr);
	if (!peer || !(peer->flags & WEFT_PEER_MESH))
		return false;
	mode = bpf_map_lookup_elem(&weft_tls_port, to);
	return !mode || *mode != WEFT_TLS_OFF;
}

/* The agent's listener, in the family of `to`. */
static __always_inline void mesh_listener(const struct weft_endpoint *workload, const struct weft_addr_port *to,
                                          struct weft_addr_port *listener)
{
	bool v4 = addr_is_v4(&to->addr);

	__builtin_memset(listener, 0, sizeof *listener);
	listener->addr.word[2] = v4 ? WEFT_V4_MAPPED_WORD : 0;
	listener->addr.word[3] = v4 ? bpf_htonl(0x7f000001) : bpf_htonl(1);
	listener->port = workload->dial_port;
	listener->proto = IPPROTO_TCP;
}

/* Tells the agent, under the source port that was chosen by now, whom the application means. */
static __always_inline void mesh_announce(const struct weft_socket *socket, const struct weft_addr_port *local,
                                          __u64 cookie)
{
	struct weft_mesh_key key = { .netns = socket->netns, .addr = *local };
	struct weft_mesh_dial dial = {
		.asked = socket->asked,
		.backend = socket->backend,
		.cookie = cookie,
		.service = socket->service,
		.connect_ns = socket->connect_ns,
	};

	/* Only memory can be short; the agent resets a connection that it finds no entry for. */
	if (bpf_map_update_elem(&weft_mesh_dial, &key, &dial, BPF_ANY))
		count_reason(WEFT_REASON_MESH_NOT_READY, WEFT_EGRESS);
}

/* A connection from the pod to itself may be the agent's, made on behalf of a peer: then the peer is the one to show.
 */
static __always_inline void mesh_recognise(struct weft_socket *socket, const struct weft_addr_port *remote)
{
	struct weft_mesh_key key = { .netns = socket->netns, .addr = *remote };
	const struct weft_mesh_peer *peer = bpf_map_lookup_elem(&weft_mesh_peer, &key);

	if (!peer)
		return;
	socket->asked = peer->peer;
	socket->backend = *remote;
	socket->flags |= WEFT_SOCKET_MESH;
	if (peer->flags & WEFT_MESH_PEER_PLAINTEXT)
		socket->flags |= WEFT_SOCKET_PLAINTEXT;
	(void)bpf_map_delete_elem(&weft_mesh_peer, &key); /* gone already: as good */
}

#endif
