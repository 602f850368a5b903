/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Flow events: kernel -> ring buffer -> observer. One record type, so a reader never guesses a length. */
#ifndef WEFT_ABI_EVENT_H
#define WEFT_ABI_EVENT_H

#include "types.h"

#define WEFT_EVENT_CONNECT 1    /* an active connection is established; UDP: the workload sent the first datagram */
#define WEFT_EVENT_ACCEPT 2     /* a passive connection is established; UDP: the peer sent the first datagram */
#define WEFT_EVENT_CLOSE 3      /* a connection that was announced has ended; UDP: nobody sent for a while */
#define WEFT_EVENT_DENIED 4     /* refused or dropped; `reason` says why */
#define WEFT_EVENT_NO_BACKEND 5 /* the Service has no usable backend */
#define WEFT_EVENT_FIRST_BYTE 6 /* while WEFT_CONFIG_TRACE is set: payload in `direction` for the first time */
#define WEFT_EVENT_KIND_COUNT 7

/* weft_event.flags */
#define WEFT_EVENT_PACKET (1u << 0)     /* seen at packet level, not at a call */
#define WEFT_EVENT_RESET (1u << 1)      /* the connection ended by a reset */
#define WEFT_EVENT_MUTUAL_TLS (1u << 2) /* its bytes cross the wire by mutual TLS */
#define WEFT_EVENT_LOCAL_END (1u << 3)  /* close: `local` ended it, by the first FIN or by a reset */

struct weft_event {
	__u64 time_ns;                /* CLOCK_MONOTONIC */
	__u64 cookie;                 /* socket cookie; 0 when the hook has none */
	__u64 netns;                  /* netns cookie of the workload that saw it */
	__u64 workload;               /* weft_endpoint.workload; 0 when unknown */
	__u64 rule;                   /* rule that decided; 0: none */
	__u64 service;                /* weft_service.service; 0: not through a Service */
	__u64 bytes_sent;             /* close: payload bytes acknowledged by the peer; UDP: payload sent */
	__u64 bytes_received;         /* close */
	__u64 packets_sent;           /* close: TCP segments with those that carry no payload; UDP: datagrams */
	__u64 packets_received;       /* close */
	__u64 duration_ns;            /* connect: time to establish; close: life, of UDP from first to last datagram */
	__u64 idle_ns;                /* close of UDP: from the last datagram to time_ns */
	struct weft_addr_port local;  /* the workload's own end */
	struct weft_addr_port remote; /* the peer's real end (the backend) */
	struct weft_addr_port asked;  /* what the application asked for; equal to remote when not translated */
	__u32 srtt_us;                /* close: smoothed round-trip time */
	__u32 retransmits;            /* close: segments sent again */
	__u8 kind;                    /* WEFT_EVENT_* */
	__u8 reason;                  /* enum weft_reason */
	__u8 direction;               /* WEFT_INGRESS, WEFT_EGRESS */
	__u8 flags;                   /* WEFT_EVENT_* flags */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_event) == 168, "no hidden padding");

/* Value of weft_config (array of one): what may change while the programs run. */
struct weft_config {
	__u64 revision; /* policy revision, never 0 once the agent has synced; bumped after every policy change */
	__u32 flags;    /* WEFT_CONFIG_* */
	__u32 pad;      /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_config) == 16, "no hidden padding");
#define WEFT_CONFIG_ALLOW_UNKNOWN (1u << 0) /* unknown workloads pass instead of being refused */
#define WEFT_CONFIG_EVENTS_OFF (1u << 1)    /* no flow events; counters only */
#define WEFT_CONFIG_TRACE (1u << 2)         /* somebody traces connections: first bytes are events, too */
#define WEFT_CONFIG_RETIRED (1u << 3)       /* this map is no longer written: what still reads it leaves acceleration */
#define WEFT_CONFIG_UDP_OFF (1u << 4)       /* UDP flows are not followed */

/* Per-CPU value of weft_counters, index: kind of enum weft_counter. */
#define WEFT_COUNTERS(X)                                                                      \
	X(CONNECTS, "connections opened by workloads")                                        \
	X(ACCEPTS, "connections accepted by workloads")                                       \
	X(CLOSES, "connections closed")                                                       \
	X(BYTES_SENT, "payload bytes sent on closed connections")                             \
	X(BYTES_RECEIVED, "payload bytes received on closed connections")                     \
	X(TRANSLATIONS, "connects and first datagrams sent to a Service and given a backend") \
	X(RETRANSMITS, "segments sent again on closed connections")                           \
	X(EVENTS, "flow events produced, delivered or lost")                                  \
	X(ACCEL_JOINED, "connections inside the node whose two ends were joined")             \
	X(ACCEL_BYTES, "payload bytes that skipped TCP/IP")                                   \
	X(UDP_SENT_FIRST, "UDP flows that workloads began")                                   \
	X(UDP_RECEIVED_FIRST, "UDP flows that peers of workloads began")                      \
	X(UDP_ENDED, "UDP flows that ended")                                                  \
	X(UDP_BYTES_SENT, "payload bytes sent on UDP flows that ended")                       \
	X(UDP_BYTES_RECEIVED, "payload bytes received on UDP flows that ended")               \
	X(UDP_PACKETS_SENT, "datagrams sent on UDP flows that ended")                         \
	X(UDP_PACKETS_RECEIVED, "datagrams received on UDP flows that ended")
#define WEFT_COUNTER_ENUM(name, help) WEFT_COUNTER_##name,
enum weft_counter { WEFT_COUNTERS(WEFT_COUNTER_ENUM) WEFT_COUNTER_COUNT };
#undef WEFT_COUNTER_ENUM

/* Key of weft_drops is reason * WEFT_DIRECTION_COUNT + direction; value is a per-CPU __u64. */

#endif
