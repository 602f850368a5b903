/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Small questions about addresses. */
#ifndef WEFT_LIB_ADDR_BPF_H
#define WEFT_LIB_ADDR_BPF_H

#include "kernel.bpf.h"
#include "weft/abi/types.h"

static __always_inline struct weft_addr addr_v4(__u32 addr_be)
{
	struct weft_addr addr = { .word = { 0, 0, WEFT_V4_MAPPED_WORD, addr_be } };

	return addr;
}

static __always_inline bool addr_is_v4(const struct weft_addr *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == WEFT_V4_MAPPED_WORD;
}

static __always_inline bool addr_equal(const struct weft_addr *a, const struct weft_addr *b)
{
	return a->word[3] == b->word[3] && a->word[2] == b->word[2] && a->word[1] == b->word[1] &&
	       a->word[0] == b->word[0];
}

static __always_inline bool addr_port_equal(const struct weft_addr_port *a, const struct weft_addr_port *b)
{
	return a->port == b->port && a->proto == b->proto && addr_equal(&a->addr, &b->addr);
}

/* 127.0.0.0/8, ::1, and the unspecified address, which the kernel takes for this host */
static __always_inline bool addr_is_self(const struct weft_addr *a)
{
	if (addr_is_v4(a))
		return a->word[3] == 0 || (bpf_ntohl(a->word[3]) >> 24) == 127;
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && (a->word[3] == 0 || a->word[3] == bpf_htonl(1));
}

/* fe80::/10 and 169.254.0.0/16 need no entry anywhere: they never leave the link */
static __always_inline bool addr_is_link_local(const struct weft_addr *a)
{
	if (addr_is_v4(a))
		return (bpf_ntohl(a->word[3]) >> 16) == 0xa9fe;
	return (bpf_ntohl(a->word[0]) >> 22) == (0xfe800000u >> 22);
}

/* ff00::/8 and 224.0.0.0/4 */
static __always_inline bool addr_is_multicast(const struct weft_addr *a)
{
	if (addr_is_v4(a))
		return (bpf_ntohl(a->word[3]) >> 28) == 0xe;
	return (bpf_ntohl(a->word[0]) >> 24) == 0xff;
}

#endif
