/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Denials by what denied. Kubernetes' policies only allow, so whom to ask is the set of policies that isolate the
 * workload: its policy class.
 */
#ifndef WEFT_ABI_RULE_DROPS_H
#define WEFT_ABI_RULE_DROPS_H

#include "types.h"

/* Classes with denials, by direction; denials of more are not counted by class, and that is counted. */
#define WEFT_RULE_DROPS_ENTRIES 4096

/* Key of weft_rule_drops; the value is a count (__u64), a sum over all CPUs. */
struct weft_rule_drops_key {
	__u64 policy;   /* weft_endpoint.policy of the workload that denied */
	__u8 reason;    /* enum weft_reason */
	__u8 direction; /* WEFT_INGRESS, WEFT_EGRESS: as in weft_drops */
	__u8 pad[6];    /* zero */
};
WEFT_STATIC_ASSERT(sizeof(struct weft_rule_drops_key) == 16, "no hidden padding");

#endif
