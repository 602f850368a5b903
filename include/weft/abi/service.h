/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Services and their backends. Sets of backends are immutable: their id is a hash of their content, so
 * a change writes the new set, flips the one frontend entry, and only then removes the old set.
 */
#ifndef WEFT_ABI_SERVICE_H
#define WEFT_ABI_SERVICE_H

#include "limits.h"
#include "types.h"

/* weft_service.algorithm; names are the values of the Service annotation weft.dev/load-balancing. */
#define WEFT_ALGORITHM_RANDOM 0
#define WEFT_ALGORITHM_ROUND_ROBIN 1
#define WEFT_ALGORITHM_MAGLEV 2
#define WEFT_ALGORITHM_LEAST_CONNECTIONS 3

/* weft_service.flags */
#define WEFT_SERVICE_AFFINITY (1u << 0) /* sessionAffinity: ClientIP */
#define WEFT_SERVICE_NODE_PORT                                                                 \
	(1u << 1) /* frontend address is all zero: matches any address in the node address map \
	           */

/* Value of weft_service; the key is struct weft_addr_port, the address that an application dials. */
struct weft_service {
	__u64 service;    /* hash of namespace/name/port/scope: names it in events, keys affinity and membership */
	__u64 set;        /* content hash of its backend set */
	__u32 slot_count; /* slots of that set; 0: no usable backend */
	__u32 affinity_seconds; /* sessionAffinityConfig.clientIP.timeoutSeconds */
	__u16 algorithm;        /* WEFT_ALGORITHM_* */
	__u16 flags;            /* WEFT_SERVICE_* */
	__u32 pad;              /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_service) == 32, "no hidden padding");

/* Key of weft_slot. */
struct weft_slot_key {
	__u64 set;   /* weft_service.set */
	__u32 index; /* 0 .. slot_count - 1 */
	__u32 pad;   /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_slot_key) == 16, "no hidden padding");

/* Value of weft_slot. A backend of weight n stands in n slots, after all weights are divided by their gcd. */
struct weft_slot {
	struct weft_addr_port backend;
	__u32 weight; /* relative weight, 1..: least-connections compares connections / weight; its slots are not
	                 repeated */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_slot) == 24, "no hidden padding");

/* Key of weft_maglev; the index of a slot for hash h is entry h % WEFT_MAGLEV_SIZE. */
struct weft_maglev_key {
	__u64 set;
	__u32 chunk; /* (h % WEFT_MAGLEV_SIZE) / WEFT_MAGLEV_CHUNK */
	__u32 pad;   /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_maglev_key) == 16, "no hidden padding");

/* Value of weft_maglev; entries past WEFT_MAGLEV_SIZE in the last chunk are zero. */
struct weft_maglev_chunk {
	__u16 slot[WEFT_MAGLEV_CHUNK];
};
WEFT_STATIC_ASSERT(sizeof(struct weft_maglev_chunk) == 2 * WEFT_MAGLEV_CHUNK, "no hidden padding");

/* Key of weft_member: is this backend still one of this service? Written only for services that remember a
 * choice (session affinity, UDP). */
struct weft_member_key {
	__u64 service;
	struct weft_addr_port backend;
	__u32 pad; /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_member_key) == 32, "no hidden padding");

/* Key and value of weft_affinity (written by the kernel). */
struct weft_affinity_key {
	__u64 service;
	__u64 client; /* netns cookie: two pods behind one address do not mix */
};
struct weft_affinity {
	__u64 last_used_ns; /* CLOCK_MONOTONIC */
	struct weft_addr_port backend;
	__u32 pad;
};
WEFT_STATIC_ASSERT(sizeof(struct weft_affinity_key) == 16, "no hidden padding");
WEFT_STATIC_ASSERT(sizeof(struct weft_affinity) == 32, "no hidden padding");

/* Key of weft_udp_nat (written by the kernel): unconnected UDP, both directions. */
#define WEFT_UDP_FORWARD 0 /* peer = the address that the application asked for; value = the backend */
#define WEFT_UDP_REVERSE 1 /* peer = the backend; value = what the application asked for */
struct weft_udp_nat_key {
	__u64 socket; /* socket cookie */
	struct weft_addr_port peer;
	__u32 kind; /* WEFT_UDP_FORWARD, WEFT_UDP_REVERSE */
};
struct weft_udp_nat {
	__u64 service; /* weft_service.service, to test membership */
	struct weft_addr_port peer;
	__u32 pad;
};
WEFT_STATIC_ASSERT(sizeof(struct weft_udp_nat_key) == 32, "no hidden padding");
WEFT_STATIC_ASSERT(sizeof(struct weft_udp_nat) == 32, "no hidden padding");

#endif
