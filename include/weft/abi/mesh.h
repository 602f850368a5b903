/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the agent and the hooks tell each other of connections that go by mutual TLS through the agent's sockets. */
#ifndef WEFT_ABI_MESH_H
#define WEFT_ABI_MESH_H

#include "types.h"

/* One socket in one network namespace: two pods both have 127.0.0.1, so an address alone names nothing. */
struct weft_mesh_key {
	__u64 netns;                /* netns cookie */
	struct weft_addr_port addr; /* weft_mesh_dial: the application's own end; weft_mesh_peer: the agent's */
	__u32 pad;                  /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_mesh_key) == 32, "no hidden padding");

/* Value of weft_mesh_dial, written when an application dials: what the agent is to connect to. */
struct weft_mesh_dial {
	struct weft_addr_port asked;   /* what the application asked for */
	struct weft_addr_port backend; /* what was chosen for it */
	__u64 cookie;                  /* of the application's socket */
	__u64 service;                 /* weft_service.service; 0: no Service */
	__u64 connect_ns;              /* CLOCK_MONOTONIC of connect */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_mesh_dial) == 64, "no hidden padding");

/* Value of weft_mesh_peer, written by the agent before it connects to an application: who is really calling. */
struct weft_mesh_peer {
	struct weft_addr_port peer; /* the client's own end on the wire */
	__u32 flags;                /* WEFT_MESH_PEER_* */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_mesh_peer) == 24, "no hidden padding");
#define WEFT_MESH_PEER_PLAINTEXT (1u << 0) /* it came unencrypted, and a permissive workload takes it as it came */

/* Value of weft_tls_port; its key is struct weft_addr_port, a workload's own: the mode of a port that is an exception.
 */
#define WEFT_TLS_OFF 1
#define WEFT_TLS_PERMISSIVE 2
#define WEFT_TLS_STRICT 3

/* Key of weft_mesh_lstn (SOCKHASH): the agent's listener for encrypted connections to this workload. */
struct weft_mesh_listen_key {
	__u64 netns;
	__u32 family; /* AF_INET, AF_INET6 */
	__u32 pad;    /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_mesh_listen_key) == 16, "no hidden padding");

#endif
