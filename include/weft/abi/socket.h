/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* State that rides on each socket (BPF socket storage), and the flow tracking of unconnected UDP. */
#ifndef WEFT_ABI_SOCKET_H
#define WEFT_ABI_SOCKET_H

#include "types.h"

/* weft_socket.role */
#define WEFT_ROLE_NONE 0   /* not connected, listening, or accepted: judged by ingress policy */
#define WEFT_ROLE_CLIENT 1 /* it called connect: judged by egress policy, replies pass */

/* weft_socket.verdict */
#define WEFT_VERDICT_UNKNOWN 0
#define WEFT_VERDICT_ALLOW 1
#define WEFT_VERDICT_DENY 2

/* weft_socket.flags */
#define WEFT_SOCKET_TRANSLATED (1u << 0) /* `asked` and `backend` hold a service translation */
#define WEFT_SOCKET_COUNTED (1u << 1)    /* it is part of its backend's connection count */
#define WEFT_SOCKET_AGENT (1u << 2)      /* made by the agent itself: hooks leave it alone */
#define WEFT_SOCKET_OPEN (1u << 3)       /* an open event was sent; a close event is owed */
#define WEFT_SOCKET_MESH (1u << 4)       /* its other end is the agent, on loopback; `asked`, `backend` tell the peer */
#define WEFT_SOCKET_CARRIER (1u << 5)   /* the agent's end of an encrypted connection: judged, but no flow of its own */
#define WEFT_SOCKET_UNSEEN (1u << 6)    /* it has a verdict, but the source of what it sends has not been checked */
#define WEFT_SOCKET_LISTENS (1u << 7)   /* `verdict` was found while it listened; what it accepts inherits that */
#define WEFT_SOCKET_PLAINTEXT (1u << 8) /* with WEFT_SOCKET_MESH: the agent hands it on as it came, unencrypted */
#define WEFT_SOCKET_SENT (1u << 9)      /* WEFT_CONFIG_TRACE: its first payload was announced */
#define WEFT_SOCKET_RECEIVED (1u << 10) /* the same for what it receives */

struct weft_socket {
	__u64 netns;                   /* netns cookie: names the workload */
	__u64 revision;                /* policy revision under which `verdict` was found; 0: never */
	__u64 rule;                    /* rule that allowed; 0: default */
	__u64 service;                 /* weft_service.service when translated */
	__u64 connect_ns;              /* CLOCK_MONOTONIC of connect */
	struct weft_addr_port asked;   /* what the application asked for */
	struct weft_addr_port backend; /* what it got */
	__u8 role;                     /* WEFT_ROLE_* */
	__u8 verdict;                  /* WEFT_VERDICT_* */
	__u16 flags;                   /* WEFT_SOCKET_* */
	__u32 pad;                     /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_socket) == 88, "no hidden padding");

/* Key and value of weft_udp_track: a flow that was allowed in one direction, so its replies pass in the other. */
struct weft_udp_track_key {
	__u64 netns;
	struct weft_addr_port peer; /* proto is that of the flow; ports are 0 for protocols without */
	__u16 local_port;           /* host order */
	__u8 reply_direction;       /* WEFT_INGRESS or WEFT_EGRESS: the direction that the replies take */
	__u8 pad;                   /* zero */
};
struct weft_udp_track {
	__u64 last_seen_ns; /* CLOCK_MONOTONIC */
	__u64 revision;     /* policy revision under which the first direction was allowed */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_udp_track_key) == 32, "no hidden padding");
WEFT_STATIC_ASSERT(sizeof(struct weft_udp_track) == 16, "no hidden padding");

/* weft_conn.accel */
#define WEFT_CONN_PLAIN 0  /* TCP or UDP, as ever */
#define WEFT_CONN_JOINED 1 /* joined with a socket of this node: what either end sends may skip TCP/IP */
#define WEFT_CONN_LEFT 2   /* it was joined, and at least one end sends by TCP again */

/* One record of the socket iterator, as `weft conn list` reads it. */
struct weft_conn {
	struct weft_socket socket;
	struct weft_addr_port local;  /* proto: IPPROTO_* */
	struct weft_addr_port remote; /* all zero when unconnected */
	__u64 cookie;                 /* socket cookie */
	__u32 state;                  /* TCP_ESTABLISHED .. as in the kernel's tcp_states.h */
	__u32 device;                 /* interface index of SO_BINDTODEVICE; 0: none */
	__u64 bytes_sent;             /* TCP: payload that the other end acknowledged */
	__u64 bytes_received;         /* TCP: payload that arrived */
	__u64 bytes_skipped;          /* part of both sums that skipped TCP/IP */
	__u32 accel;                  /* WEFT_CONN_* */
	__u32 pad;                    /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_conn) == 176, "no hidden padding");

#endif
