/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The policy decision over the kernel's maps, with the cases that need no policy. Fails closed. */
#ifndef WEFT_LIB_POLICY_BPF_H
#define WEFT_LIB_POLICY_BPF_H

#include "lib/addr.bpf.h"
#include "maps/endpoint.bpf.h"
#include "maps/policy.bpf.h"

#define WEFT_VERDICT_FN static __always_inline
#include "lib/verdict.h"

static __always_inline const struct weft_peer *weft_peer_of(const struct weft_addr *addr)
{
	const struct weft_peer *peer = bpf_map_lookup_elem(&weft_ipcache, addr);
	struct weft_cidr_key key = { .prefix_bits = 128, .addr = *addr };

	return peer ? peer : bpf_map_lookup_elem(&weft_cidr, &key);
}

static __always_inline const struct weft_policy_entry *weft_policy_at(const struct weft_policy_key *key)
{
	return bpf_map_lookup_elem(&weft_policy, key);
}

static __always_inline const __u64 *weft_rule_at(const struct weft_ports_key *key)
{
	return bpf_map_lookup_elem(&weft_ports, key);
}

/* A pod always reaches itself; everything else is the policy's. A subprogram: four hooks and two directions use it. */
static __noinline int policy_decide(const struct weft_endpoint *workload, const struct weft_question *q, __u64 *rule)
{
	if (!workload || !q || !rule)
		return WEFT_VERDICT_DENY; /* never happens; a subprogram's pointers may be null to the verifier */
	*rule = 0;
	if (addr_is_self(&q->peer) || addr_equal(&q->peer, &workload->addr4) || addr_equal(&q->peer, &workload->addr6))
		return WEFT_VERDICT_ALLOW;
	return weft_decide(workload, q, rule);
}

#endif
