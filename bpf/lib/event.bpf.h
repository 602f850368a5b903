/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sending flow events. A full ring loses the event, counts it, and never delays the connection. */
#ifndef WEFT_LIB_EVENT_BPF_H
#define WEFT_LIB_EVENT_BPF_H

#include "lib/count.bpf.h"
#include "maps/config.bpf.h"

/* The agent looks at the ring ten times a second; only a ring that fills up faster wakes it. */
#define WEFT_EVENT_WAKEUP_BYTES (WEFT_EVENT_RING_BYTES / 8)
/* What one event takes in the ring: its header and itself, in eights. */
#define WEFT_EVENT_RECORD_BYTES ((sizeof(struct weft_event) + 8 + 7) / 8 * 8)

/* Reserves a zeroed event of this moment, or NULL when events are off or the ring is full. */
static __always_inline struct weft_event *event_begin_at(__u64 now_ns, __u8 kind, __u8 reason, __u8 direction)
{
	const struct weft_config *config = config_get();
	struct weft_event *event;

	if (!config || (config->flags & WEFT_CONFIG_EVENTS_OFF))
		return NULL;
	count_add(WEFT_COUNTER_EVENTS, 1);
	event = bpf_ringbuf_reserve(&weft_events, sizeof *event, 0);
	if (!event) {
		count_reason(WEFT_REASON_EVENT_LOST, direction);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof *event);
	event->time_ns = now_ns;
	event->kind = kind;
	event->reason = reason;
	event->direction = direction;
	return event;
}

static __always_inline struct weft_event *event_begin(__u8 kind, __u8 reason, __u8 direction)
{
	return event_begin_at(bpf_ktime_get_ns(), kind, reason, direction);
}

static __always_inline void event_send(struct weft_event *event)
{
	__u64 waiting = bpf_ringbuf_query(&weft_events, BPF_RB_AVAIL_DATA);
	/* Wake once per eighth that fills up, not once per event from there on: a wake-up costs more than an event. */
	bool crossed =
		waiting / WEFT_EVENT_WAKEUP_BYTES != (waiting + WEFT_EVENT_RECORD_BYTES) / WEFT_EVENT_WAKEUP_BYTES;

	bpf_ringbuf_submit(event, crossed ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

#endif
