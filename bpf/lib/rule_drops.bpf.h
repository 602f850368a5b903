/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counting a denial also by who denied. Only observes; on no path but that of what is denied anyway. */
#ifndef WEFT_LIB_RULE_DROPS_BPF_H
#define WEFT_LIB_RULE_DROPS_BPF_H

#include "lib/count.bpf.h"
#include "maps/rule_drops.bpf.h"
#include "weft/abi/endpoint.h"

/* A subprogram, as many hooks deny. `workload` may be null: then nobody's policy denied. */
static __noinline int count_rule(const struct weft_endpoint *workload, __u32 reason, __u32 direction)
{
	struct weft_rule_drops_key key = {};
	__u64 *count, zero = 0;

	if (!workload || reason != WEFT_REASON_POLICY_DENIED)
		return 0;
	key.policy = workload->policy;
	key.reason = (__u8)reason;
	key.direction = (__u8)direction;
	count = bpf_map_lookup_elem(&weft_rule_drops, &key);
	if (!count) {
		/* EEXIST: another CPU was first, which is as good */
		(void)bpf_map_update_elem(&weft_rule_drops, &key, &zero, BPF_NOEXIST);
		count = bpf_map_lookup_elem(&weft_rule_drops, &key);
	}
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		count_reason(WEFT_REASON_RULE_DROPS_FULL, direction);
	return 0;
}

#endif
