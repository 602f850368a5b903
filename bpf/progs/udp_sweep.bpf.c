/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ends UDP flows that fell silent. The agent runs it now and then; it is never attached. Without it flows go on, and
 * their sums are told when an agent is there again. A datagram that comes while its flow is being ended, after more
 * than idle_ns of silence, may be missing from that flow's sums.
 */
#include "lib/udp_flow.bpf.h"

struct sweep {
	struct weft_udp_sweep *args;
	__u64 now;
};

static long sweep_one(struct bpf_map *map, struct weft_udp_flow_key *at, struct weft_udp_flow *flow,
                      struct sweep *sweep)
{
	struct weft_udp_flow_key key = *at; /* the element may be another's once it is deleted */
	struct weft_udp_flow last;
	__u64 seen = flow->last_ns;

	/* A datagram may have come since this pass began. */
	if (seen > sweep->now || sweep->now - seen <= sweep->args->idle_ns) {
		sweep->args->open++;
		return 0;
	}
	last = *flow;
	if (bpf_map_delete_elem(&weft_udp_flow, &key))
		return 0; /* another pass was first */
	sweep->args->ended++;
	count_add(WEFT_COUNTER_UDP_ENDED, 1);
	count_add(WEFT_COUNTER_UDP_BYTES_SENT, last.bytes_sent);
	count_add(WEFT_COUNTER_UDP_BYTES_RECEIVED, last.bytes_received);
	count_add(WEFT_COUNTER_UDP_PACKETS_SENT, last.packets_sent);
	count_add(WEFT_COUNTER_UDP_PACKETS_RECEIVED, last.packets_received);
	udp_flow_report(&key, &last, bpf_ktime_get_ns(), WEFT_EVENT_CLOSE);
	return 0;
}

SEC("syscall")
int weft_udp_sweep(struct weft_udp_sweep *args)
{
	struct sweep sweep = { .args = args, .now = bpf_ktime_get_ns() };

	args->ended = 0;
	args->open = 0;
	return bpf_for_each_map_elem(&weft_udp_flow, sweep_one, &sweep, 0) < 0;
}
