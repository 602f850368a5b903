/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * UDP has no opening and no end: a flow is what two ends send each other without a longer pause. The packet hooks begin
 * flows and count, a program that the agent runs now and then ends those that fell silent.
 */
#ifndef WEFT_ABI_UDP_FLOW_H
#define WEFT_ABI_UDP_FLOW_H

#include "types.h"

/* Key of weft_udp_flow: a flow, seen from one of its workloads. */
struct weft_udp_flow_key {
	__u64 netns;                 /* netns cookie of the workload */
	struct weft_addr_port local; /* its own end */
	struct weft_addr_port peer;  /* the other one */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_udp_flow_key) == 48, "no hidden padding");

/* Value of weft_udp_flow. The sums are changed with atomics. */
struct weft_udp_flow {
	__u64 first_ns;              /* CLOCK_MONOTONIC of the first datagram */
	__u64 last_ns;               /* of the last one */
	__u64 bytes_sent;            /* payload, of the workload */
	__u64 bytes_received;        /* payload */
	__u64 packets_sent;          /* datagrams, as the wire has them */
	__u64 packets_received;      /* datagrams */
	__u64 cookie;                /* of the socket that the first one was at */
	__u64 workload;              /* weft_endpoint.workload */
	__u64 rule;                  /* rule that allowed the first one; 0: none */
	__u64 service;               /* weft_service.service; 0: not through a Service */
	struct weft_addr_port asked; /* what the application asked for; equal to the peer when not translated */
	__u8 direction;              /* WEFT_EGRESS: the workload sent the first one; WEFT_INGRESS: the peer */
	__u8 pad[3];                 /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_udp_flow) == 104, "no hidden padding");

/* Argument of the program weft_udp_sweep: ends the flows that were silent for longer than `idle_ns`. */
struct weft_udp_sweep {
	__u64 idle_ns;
	__u32 ended; /* out: how many ended now */
	__u32 open;  /* out: how many go on */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_udp_sweep) == 16, "no hidden padding");

#endif
