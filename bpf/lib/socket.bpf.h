/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* State of one socket: finding it, tagging it, and counting it at its backend. */
#ifndef WEFT_LIB_SOCKET_BPF_H
#define WEFT_LIB_SOCKET_BPF_H

#include "lib/addr.bpf.h"
#include "lib/count.bpf.h"
#include "maps/choice.bpf.h"
#include "maps/config.bpf.h"
#include "maps/endpoint.bpf.h"
#include "maps/socket.bpf.h"

/*
 * Sockets of the kernel itself (NFS, SMB, tunnels) never pass the create hook. Only TCP can be asked. The subflows of
 * an application's MPTCP socket are made by the kernel as well, but they are the application's.
 */
static __always_inline bool socket_is_kernels(struct bpf_sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	if (!tcp || !BPF_CORE_READ_BITFIELD_PROBED((struct sock *)tcp, sk_kern_sock))
		return false;
	return !bpf_core_field_exists(tcp->is_mptcp) || !tcp->is_mptcp;
}

/* Adds `delta` to the backend's open connections; the first connection makes the entry. */
static __always_inline void conns_add(const struct weft_addr_port *backend, __s64 delta)
{
	__s64 *count = bpf_map_lookup_elem(&weft_conns, backend);
	__s64 zero = 0;

	if (!count && delta > 0) {
		/* EEXIST: another CPU was first, which is as good */
		(void)bpf_map_update_elem(&weft_conns, backend, &zero, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&weft_conns, backend);
		if (!count)
			count_reason(WEFT_REASON_CONNS_FULL, WEFT_EGRESS);
	}
	if (count)
		__sync_fetch_and_add(count, delta);
}

static __always_inline void socket_uncount(struct weft_socket *socket)
{
	struct weft_addr_port backend = socket->backend; /* a map key must lie on the stack on 6.1 */

	if (!(socket->flags & WEFT_SOCKET_COUNTED))
		return;
	socket->flags &= (__u16)~WEFT_SOCKET_COUNTED;
	conns_add(&backend, -1);
}

static __always_inline const struct weft_endpoint *endpoint_of(const struct weft_socket *socket)
{
	__u64 netns = socket->netns;

	return bpf_map_lookup_elem(&weft_endpoint, &netns);
}

static __always_inline bool unknown_may_pass(void)
{
	const struct weft_config *config = config_get();

	return config && (config->flags & WEFT_CONFIG_ALLOW_UNKNOWN);
}

#endif
