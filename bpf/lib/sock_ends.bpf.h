/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The two ends of a socket, for iterators: they are given the kernel's own structures. */
#ifndef WEFT_LIB_SOCK_ENDS_BPF_H
#define WEFT_LIB_SOCK_ENDS_BPF_H

#include "lib/addr.bpf.h"

/* Fills *local and *remote but for their protocol. Returns 0, or a negative errno when they cannot be read. */
static __always_inline int sock_ends(const struct sock_common *sk, struct weft_addr_port *local,
                                     struct weft_addr_port *remote)
{
	local->port = sk->skc_num;
	remote->port = bpf_ntohs(sk->skc_dport);
	if (sk->skc_family == AF_INET) {
		local->addr = addr_v4(sk->skc_rcv_saddr);
		remote->addr = addr_v4(sk->skc_daddr);
		return 0;
	}
	if (bpf_core_read(&local->addr, sizeof local->addr, &sk->skc_v6_rcv_saddr) ||
	    bpf_core_read(&remote->addr, sizeof remote->addr, &sk->skc_v6_daddr))
		return -EFAULT; /* cannot happen for a live socket; a wrong address would be worse than none */
	return 0;
}

#endif
