/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What an ABI type may be made of. Every header of this folder is compiled by clang for BPF and by
 * g++ for the agent, so that a fact that both sides need is written once. Only __u8..__u64 and their
 * signed forms; padding is spelled out and zero, because keys are compared byte by byte.
 */
#ifndef WEFT_ABI_TYPES_H
#define WEFT_ABI_TYPES_H

#include <linux/types.h>

/* Version of everything in this folder. It is part of the pin path: an agent never reads maps of another one. */
#define WEFT_ABI_VERSION 1

#ifdef __cplusplus
#define WEFT_STATIC_ASSERT(cond, why) static_assert(cond, why)
#else
#define WEFT_STATIC_ASSERT(cond, why) _Static_assert(cond, why)
#endif

/* An address: 16 bytes in network order. IPv4 is the mapped form ::ffff:a.b.c.d, so one map serves both families. */
struct weft_addr {
	__u32 word[4];
};
WEFT_STATIC_ASSERT(sizeof(struct weft_addr) == 16, "no hidden padding");

/* Third word of an IPv4-mapped address, in network order on a little-endian machine (0000ffff). */
#define WEFT_V4_MAPPED_WORD 0xffff0000u

/* An address with a port, as a transport endpoint. */
struct weft_addr_port {
	struct weft_addr addr;
	__u16 port; /* host order */
	__u8 proto; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
	__u8 pad;   /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_addr_port) == 20, "no hidden padding");

#endif
