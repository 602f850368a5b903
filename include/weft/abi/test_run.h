/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Arguments of the programs that run the decisions on their own, against the real maps. */
#ifndef WEFT_ABI_TEST_RUN_H
#define WEFT_ABI_TEST_RUN_H

#include "types.h"

/* weft_run_select: which backend would this client get? */
struct weft_run_select {
	struct weft_addr_port asked;
	struct weft_addr_port backend; /* out */
	__u64 client;                  /* netns cookie */
	__u64 source;                  /* number that names the client for consistent hashing */
	__u64 service;                 /* out */
	__s32 result;                  /* out: 0, 1 (no Service), -ECONNREFUSED */
	__u32 pad;
};
WEFT_STATIC_ASSERT(sizeof(struct weft_run_select) == 72, "no hidden padding");

/* weft_run_decide: may this workload talk to that peer? */
struct weft_run_decide {
	__u64 netns;
	__u64 rule; /* out */
	struct weft_addr peer;
	__u16 port; /* host order */
	__u8 proto;
	__u8 direction;
	__s32 verdict; /* out: WEFT_VERDICT_*; WEFT_VERDICT_UNKNOWN when the workload is unknown */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_run_decide) == 40, "no hidden padding");

#endif
