/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * May this workload talk to that peer? The one decision of Weft's policy, compiled twice: for the kernel over BPF
 * maps, and for `weft simulate` over the compiler's output, so that both always agree. The includer defines
 * WEFT_VERDICT_FN (function specifiers) and the three look-ups below; this file has no other dependency.
 */
#ifndef WEFT_LIB_VERDICT_H
#define WEFT_LIB_VERDICT_H

#include "weft/abi/endpoint.h"
#include "weft/abi/policy.h"
#include "weft/abi/reasons.h"
#include "weft/abi/socket.h"

/* Identity of an address, or NULL when nothing names it. */
WEFT_VERDICT_FN const struct weft_peer *weft_peer_of(const struct weft_addr *addr);
/* Entry of the compiled policy, or NULL. */
WEFT_VERDICT_FN const struct weft_policy_entry *weft_policy_at(const struct weft_policy_key *key);
/* Rule that opens this port, longest prefix first, or NULL. */
WEFT_VERDICT_FN const __u64 *weft_rule_at(const struct weft_ports_key *key);

struct weft_question {
	struct weft_addr peer; /* after translation: the backend, not the Service */
	__u16 port_be;         /* ingress: the workload's own port; egress: the peer's; 0 without ports */
	__u8 proto;
	__u8 direction; /* WEFT_INGRESS, WEFT_EGRESS */
};

/* Does the entry for `identity` open the port? Returns WEFT_VERDICT_ALLOW with *rule set, or WEFT_VERDICT_DENY. */
WEFT_VERDICT_FN int weft_match(__u64 policy, __u64 identity, const struct weft_question *q, __u64 *rule)
{
	struct weft_policy_key key = { policy, identity, q->direction, 0 };
	const struct weft_policy_entry *entry = weft_policy_at(&key);
	struct weft_ports_key ports;
	const __u64 *opened;

	if (!entry)
		return WEFT_VERDICT_DENY;
	if (entry->ports == 0) {
		*rule = entry->rule;
		return WEFT_VERDICT_ALLOW;
	}
	ports.prefix_bits = WEFT_PORTS_PREFIX + 16;
	ports.ports_hi = (__u32)(entry->ports >> 32);
	ports.ports_lo = (__u32)entry->ports;
	ports.proto = q->proto;
	ports.pad = 0;
	ports.port_be = q->port_be;
	opened = weft_rule_at(&ports);
	if (!opened)
		return WEFT_VERDICT_DENY;
	*rule = *opened;
	return WEFT_VERDICT_ALLOW;
}

/* The decision. *rule is 0 when no rule was needed. Never WEFT_VERDICT_UNKNOWN. */
WEFT_VERDICT_FN int weft_decide(const struct weft_endpoint *workload, const struct weft_question *q, __u64 *rule)
{
	__u32 isolated = q->direction == WEFT_INGRESS ? WEFT_ENDPOINT_ISOLATED_INGRESS : WEFT_ENDPOINT_ISOLATED_EGRESS;
	const struct weft_peer *peer;
	__u64 identity = WEFT_IDENTITY_WORLD;

	*rule = 0;
	if (!(workload->flags & isolated) || (workload->flags & (WEFT_ENDPOINT_HOST | WEFT_ENDPOINT_EXTERNAL)))
		return WEFT_VERDICT_ALLOW;
	peer = weft_peer_of(&q->peer);
	if (peer) {
		identity = peer->identity;
		if ((peer->flags & WEFT_PEER_LOCAL_NODE) && q->direction == WEFT_INGRESS)
			return WEFT_VERDICT_ALLOW;
	}
	if (weft_match(workload->policy, identity, q, rule) == WEFT_VERDICT_ALLOW)
		return WEFT_VERDICT_ALLOW;
	return weft_match(workload->policy, WEFT_IDENTITY_ANY, q, rule);
}

#endif
