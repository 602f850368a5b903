/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections between two workloads of one node whose bytes skip TCP/IP: what the hooks keep of them. Everything is
 * keyed by socket cookies; addresses and sequence numbers only bring the two ends together once.
 */
#ifndef WEFT_ABI_ACCEL_H
#define WEFT_ABI_ACCEL_H

#include "types.h"

/* Ends of a connection, as index of arrays below. */
#define WEFT_ACCEL_CLIENT 0 /* it called connect */
#define WEFT_ACCEL_SERVER 1
#define WEFT_ACCEL_ENDS 2

/*
 * Key of weft_accel_meet. The sequence numbers of both directions right after the handshake are what makes sure that
 * these two sockets talk to each other, and not to somebody with the same addresses.
 */
struct weft_accel_tuple {
	struct weft_addr_port client;
	struct weft_addr_port server;
	__u32 client_seq; /* next sequence number of the client */
	__u32 server_seq; /* of the server */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_accel_tuple) == 48, "no hidden padding");

/* Value of weft_accel_meet: the end that connected, until the one that accepts takes it. */
struct weft_accel_offer {
	__u64 cookie; /* socket cookie */
	__u64 netns;  /* netns cookie of its workload */
	__u64 kernel; /* address of its struct sock, read only through a copy whose cookie is compared */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_accel_offer) == 24, "no hidden padding");

/* weft_accel_pair.flags. Of the kinds that each end has, the server's bit is the client's << WEFT_ACCEL_SERVER. */
#define WEFT_ACCEL_LEFT (1u << 0)   /* back to TCP for good */
#define WEFT_ACCEL_CLOSED (1u << 2) /* and bit 3: that end is closed */
#define WEFT_ACCEL_TRACED (1u << 4) /* and bit 5: the first payload of that end was announced */
#define WEFT_ACCEL_TCP (1u << 6)    /* and bit 7: that end sends by TCP for good */

/* Value of weft_accel_pair, key: cookie of the client's socket. */
struct weft_accel_pair {
	__u64 cookie[WEFT_ACCEL_ENDS]; /* of the server's end 0: the client left before there was one */
	__u64 netns[WEFT_ACCEL_ENDS];
	__u64 kernel[WEFT_ACCEL_ENDS]; /* see weft_accel_offer */
	__u64 bytes[WEFT_ACCEL_ENDS];  /* payload that this end sent without TCP; only that end writes it */
	struct weft_addr_port end[WEFT_ACCEL_ENDS];
	__u64 revision; /* policy revision under which both ends were allowed; 0: not judged yet */
	__u32 flags;    /* WEFT_ACCEL_* */
	__u32 pad;      /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_accel_pair) == 120, "no hidden padding");

/* Socket storage weft_accel: of a socket that offered to be joined, or was. */
struct weft_accel {
	__u64 pair;                    /* key of weft_accel_pair, whose entry may be missing: then it is not joined */
	__u32 write_seq;               /* TCP's next byte to send, before any: unequal means that TCP was used */
	__u16 end;                     /* WEFT_ACCEL_CLIENT, WEFT_ACCEL_SERVER */
	__u16 tcp;                     /* 1: TCP was used, and is for good: write_seq comes round every 4 GiB */
	struct weft_accel_tuple tuple; /* what it offered itself under, or was met by */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_accel) == 64, "no hidden padding");

#endif
