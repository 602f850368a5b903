/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sk_msg: what a joined socket sends goes straight to its peer's socket. Fails open, to TCP: policy is enforced there,
 * on packets. An end that has once sent by TCP does so for good, as else bytes could overtake each other.
 */
#include "lib/accel.bpf.h"
#include "lib/event.bpf.h"

static __always_inline void accel_first_byte(const struct weft_accel_pair *pair, __u32 end, __u8 direction)
{
	struct weft_event *event = event_begin(WEFT_EVENT_FIRST_BYTE, WEFT_REASON_NONE, direction);

	if (!event)
		return;
	event->cookie = pair->cookie[end & 1];
	event->netns = pair->netns[end & 1];
	event_send(event);
}

/* While somebody traces connections: the first payload, as its packet would have been announced at both ends. */
static __noinline int accel_trace(struct weft_accel_pair *pair, __u32 end)
{
	__u32 bit = WEFT_ACCEL_BIT(WEFT_ACCEL_TRACED, end & 1);

	if (!pair || (pair->flags & bit))
		return 0;
	if (__sync_fetch_and_or(&pair->flags, bit) & bit)
		return 0;
	accel_first_byte(pair, end, WEFT_EGRESS);
	accel_first_byte(pair, end ^ 1, WEFT_INGRESS);
	return 0;
}

/* TCP has bytes of this end: from now on it has all. */
static __always_inline void accel_use_tcp(struct weft_accel *accel)
{
	__u64 key = accel->pair;
	struct weft_accel_pair *pair = bpf_map_lookup_elem(&weft_accel_pair, &key);

	accel->tcp = 1;
	if (pair)
		__sync_fetch_and_or(&pair->flags, WEFT_ACCEL_BIT(WEFT_ACCEL_TCP, accel->end & 1));
}

/* The connection, when this message may skip TCP; else NULL. */
static __always_inline struct weft_accel_pair *accel_may(const struct sk_msg_md *msg, const struct weft_accel *accel,
                                                         const struct weft_config *config)
{
	__u64 key = accel->pair;
	__u32 own = accel->end & 1;
	struct weft_accel_pair *pair = bpf_map_lookup_elem(&weft_accel_pair, &key);

	if (!pair || (pair->flags & (WEFT_ACCEL_LEFT | WEFT_ACCEL_BIT(WEFT_ACCEL_TCP, own))))
		return NULL;
	if (config->flags & WEFT_CONFIG_RETIRED) {
		accel_leave(pair);
		return NULL;
	}
	if (pair->revision != config->revision || !config->revision) {
		if (accel_judge(pair) != WEFT_VERDICT_ALLOW) {
			accel_leave(pair);
			return NULL;
		}
		pair->revision = config->revision;
	}
	if (!accel_room(pair, own ^ 1, msg->size)) {
		__sync_fetch_and_or(&pair->flags, WEFT_ACCEL_BIT(WEFT_ACCEL_TCP, own));
		count_reason(WEFT_REASON_ACCEL_LEFT, WEFT_EGRESS);
		return NULL;
	}
	return pair;
}

SEC("sk_msg")
int weft_sk_msg(struct sk_msg_md *msg)
{
	const struct weft_config *config = config_get();
	struct bpf_sock *sk = msg->sk;
	struct weft_accel_pair *pair;
	struct weft_accel *accel;
	struct tcp_sock *tcp;
	__u64 peer;
	__u32 own;

	if (!sk || !config || (sk->state != WEFT_TCP_ESTABLISHED && sk->state != WEFT_TCP_CLOSE_WAIT))
		return SK_PASS; /* TCP knows what to answer */
	accel = bpf_sk_storage_get(&weft_accel, sk, NULL, 0);
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!accel || !tcp || accel->tcp)
		return SK_PASS;
	if (tcp->write_seq != accel->write_seq) {
		accel_use_tcp(accel);
		return SK_PASS;
	}
	pair = accel_may(msg, accel, config);
	if (!pair)
		return SK_PASS;
	own = accel->end & 1;
	peer = pair->cookie[own ^ 1];
	if (bpf_msg_redirect_hash(msg, &weft_accel_sk, &peer, BPF_F_INGRESS) != SK_PASS) {
		accel_leave(pair); /* the peer is closed */
		return SK_PASS;
	}
	pair->bytes[own] += msg->size;
	count_add(WEFT_COUNTER_ACCEL_BYTES, msg->size);
	if (config->flags & WEFT_CONFIG_TRACE)
		(void)accel_trace(pair, own); /* only observes */
	return SK_PASS;
}
