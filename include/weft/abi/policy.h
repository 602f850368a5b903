/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Compiled policy. A decision is: address -> identity (weft_ipcache, else weft_cidr), then
 * (policy, identity, direction) -> port set, once for the identity and once for WEFT_IDENTITY_ANY,
 * then (port set, protocol, port) -> rule. All ids are content hashes, so entries are never edited in place.
 */
#ifndef WEFT_ABI_POLICY_H
#define WEFT_ABI_POLICY_H

#include "types.h"

/* Reserved identities; all others are content hashes >= WEFT_IDENTITY_FIRST. */
#define WEFT_IDENTITY_ANY 0         /* as a policy key: every peer */
#define WEFT_IDENTITY_HOST 1        /* this node's own addresses: ingress from it always passes */
#define WEFT_IDENTITY_REMOTE_NODE 2 /* another node, in no policy's ipBlock */
#define WEFT_IDENTITY_WORLD 3       /* an address that nothing names */
#define WEFT_IDENTITY_FIRST 256

/* Value of weft_ipcache (key: struct weft_addr, exact) and of weft_cidr (key: struct weft_cidr_key). */
struct weft_peer {
	__u64 identity;
	__u32 flags; /* WEFT_PEER_* */
	__u32 pad;   /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_peer) == 16, "no hidden padding");
#define WEFT_PEER_LOCAL_NODE (1u << 0) /* an address of this node: ingress from it always passes */
#define WEFT_PEER_MESH (1u << 1)       /* takes mutual TLS: another node's published workload, or a federated block */
#define WEFT_PEER_DIALS (1u << 2)      /* may dial by mutual TLS: the same, or a workload that wants to be enrolled */

/* Key of weft_cidr (LPM trie). */
struct weft_cidr_key {
	__u32 prefix_bits; /* 0..128; an IPv4 /n is 96 + n */
	struct weft_addr addr;
};
WEFT_STATIC_ASSERT(sizeof(struct weft_cidr_key) == 20, "no hidden padding");

/* Key of weft_policy. */
struct weft_policy_key {
	__u64 policy;    /* weft_endpoint.policy */
	__u64 identity;  /* of the peer, or WEFT_IDENTITY_ANY */
	__u32 direction; /* WEFT_INGRESS, WEFT_EGRESS */
	__u32 pad;       /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_policy_key) == 24, "no hidden padding");

/* Value of weft_policy. */
struct weft_policy_entry {
	__u64 ports; /* port set; 0: every protocol and port */
	__u64 rule;  /* the rule that allows, when ports is 0 */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_policy_entry) == 16, "no hidden padding");

/* Key of weft_ports (LPM trie): prefix_bits counts from `ports_hi` on. */
struct weft_ports_key {
	__u32 prefix_bits; /* WEFT_PORTS_PREFIX + 0..16; +0 matches all ports of the protocol */
	__u32 ports_hi;    /* upper half of the port set's id */
	__u32 ports_lo;    /* lower half */
	__u8 proto;        /* IPPROTO_* */
	__u8 pad;          /* zero */
	__u16 port_be;     /* network order: a port range is a few prefixes */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_ports_key) == 16, "no hidden padding");
#define WEFT_PORTS_PREFIX 80

/* Value of weft_ports: the id of the rule that allows (__u64). */

#endif
