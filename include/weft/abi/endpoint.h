/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the kernel knows of a workload on this node. Key of the map: the cookie of its network namespace (__u64). */
#ifndef WEFT_ABI_ENDPOINT_H
#define WEFT_ABI_ENDPOINT_H

#include "types.h"

/* weft_endpoint.flags */
#define WEFT_ENDPOINT_HOST (1u << 0) /* the node's own namespace: services yes, policy and source check no */
#define WEFT_ENDPOINT_ISOLATED_INGRESS                                                                               \
	(1u << 1)                               /* some policy selects it for ingress: what no rule allows is denied \
	                                         */
#define WEFT_ENDPOINT_ISOLATED_EGRESS (1u << 2) /* the same for egress */
#define WEFT_ENDPOINT_ANY_SOURCE (1u << 3)      /* annotation weft.dev/allow-any-source: no source validation */
#define WEFT_ENDPOINT_EXTERNAL (1u << 4)        /* opted out (annotation weft.dev/mesh-bypass): hooks leave it alone */
#define WEFT_ENDPOINT_MESH (1u << 5)            /* enrolled: takes mutual TLS, the agent's listener is in place */
#define WEFT_ENDPOINT_DIALS (1u << 7)           /* its enrolment is published: dials enrolled peers by mutual TLS */
#define WEFT_ENDPOINT_STRICT (1u << 6)          /* takes no plaintext from other nodes, but from the node's own */
#define WEFT_ENDPOINT_ACCEL (1u << 8)           /* connections to others of this node that have it may skip TCP/IP */

struct weft_endpoint {
	__u64 workload;         /* hash of namespace/name: names it in events */
	__u64 policy;           /* content hash of the policies that select it; 0: none */
	__u64 identity;         /* its own identity number */
	struct weft_addr addr4; /* its IPv4 address, all zero when it has none */
	struct weft_addr addr6; /* its IPv6 address, all zero when it has none */
	__u32 flags;            /* WEFT_ENDPOINT_* */
	__u16 dial_port;        /* loopback port of the agent's listener in its namespace; 0: there is none */
	__u16 pad;              /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_endpoint) == 64, "no hidden padding");

#endif
