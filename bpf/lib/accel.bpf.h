/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Connections inside the node whose bytes skip TCP/IP: who may, how the two ends find each other, and how they leave.
 * Whatever is not certain leaves the connection to TCP, which is always right. docs/acceleration.md has the proofs.
 */
#ifndef WEFT_LIB_ACCEL_BPF_H
#define WEFT_LIB_ACCEL_BPF_H

#include "lib/count.bpf.h"
#include "lib/policy.bpf.h"
#include "lib/socket.bpf.h"
#include "maps/accel.bpf.h"

#define WEFT_ACCEL_BIT(kind, end) ((kind) << (end))

/* The kernel's value of SOCK_RCVBUF_LOCK (include/net/sock.h): the application chose its receive buffer. */
#define WEFT_RCVBUF_LOCK 2

/* May connections of this workload be joined, whose own address is `local`? */
static __always_inline bool accel_workload(const struct weft_endpoint *workload, const struct weft_addr *local)
{
	return workload && (workload->flags & WEFT_ENDPOINT_ACCEL) &&
	       !(workload->flags & (WEFT_ENDPOINT_HOST | WEFT_ENDPOINT_EXTERNAL)) && !addr_is_self(local) &&
	       (addr_equal(local, &workload->addr4) || addr_equal(local, &workload->addr6));
}

/* Is there somebody at `remote` on this node whose connections may be joined? Returns its netns cookie, or 0. */
static __always_inline __u64 accel_peer(const struct weft_addr *remote)
{
	__u64 *found = bpf_map_lookup_elem(&weft_local, remote);
	__u64 netns;

	if (!found)
		return 0;
	netns = *found; /* a map key must lie on the stack on 6.1 */
	return accel_workload(bpf_map_lookup_elem(&weft_endpoint, &netns), remote) ? netns : 0;
}

/*
 * Is this socket plain TCP that has not sent anything, of which the application wants nothing that only packets can
 * give? Not so: MPTCP, kernel TLS and other upper layers, zero-copy sending, a receive low-water mark, TCP Fast Open.
 */
static __always_inline bool accel_plain(struct tcp_sock *tcp)
{
	struct sock *sk = (struct sock *)tcp;

	if (bpf_core_field_exists(tcp->is_mptcp) && tcp->is_mptcp)
		return false;
	return !((struct inet_connection_sock *)tcp)->icsk_ulp_ops && sk->sk_rcvlowat <= 1 &&
	       !(sk->__sk_common.skc_flags & (1UL << bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY)));
}

/* Does policy let these two talk, as it stands now, and are both still to be joined? */
static __noinline int accel_judge(struct weft_accel_pair *pair)
{
	struct weft_question out = { .proto = IPPROTO_TCP, .direction = WEFT_EGRESS };
	struct weft_question in = { .proto = IPPROTO_TCP, .direction = WEFT_INGRESS };
	const struct weft_endpoint *client, *server;
	__u64 netns, rule;

	if (!pair)
		return WEFT_VERDICT_DENY; /* never happens; a subprogram's pointers may be null to the verifier */
	netns = pair->netns[WEFT_ACCEL_CLIENT];
	client = bpf_map_lookup_elem(&weft_endpoint, &netns);
	netns = pair->netns[WEFT_ACCEL_SERVER];
	server = bpf_map_lookup_elem(&weft_endpoint, &netns);
	if (!client || !server || !accel_workload(client, &pair->end[WEFT_ACCEL_CLIENT].addr) ||
	    !accel_workload(server, &pair->end[WEFT_ACCEL_SERVER].addr))
		return WEFT_VERDICT_DENY;
	out.peer = pair->end[WEFT_ACCEL_SERVER].addr;
	in.peer = pair->end[WEFT_ACCEL_CLIENT].addr;
	out.port_be = in.port_be = bpf_htons(pair->end[WEFT_ACCEL_SERVER].port);
	if (policy_decide(client, &out, &rule) != WEFT_VERDICT_ALLOW)
		return WEFT_VERDICT_DENY;
	return policy_decide(server, &in, &rule);
}

/* Copies the part of a socket that `pair` names; false when that socket is gone. */
static __always_inline struct sock *accel_sock(const struct weft_accel_pair *pair, __u32 end)
{
	struct sock *sk = (struct sock *)pair->kernel[end & 1];
	__u64 cookie = 0;

	/* The memory of a TCP socket is only ever that of TCP sockets, and the copy cannot fault. */
	if (bpf_core_read(&cookie, sizeof cookie, &sk->__sk_common.skc_cookie.counter) ||
	    cookie != pair->cookie[end & 1])
		return NULL;
	return sk;
}

/* May `size` more bytes wait at this end unread? TCP would stop the sender; here it goes back to TCP. */
static __always_inline bool accel_room(const struct weft_accel_pair *pair, __u32 end, __u32 size)
{
	const struct sock *sk = accel_sock(pair, end);
	__u32 limit = WEFT_ACCEL_UNREAD, unread;

	if (!sk)
		return false;
	unread = (__u32)BPF_CORE_READ(sk, sk_backlog.rmem_alloc.counter);
	if (BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & WEFT_RCVBUF_LOCK)
		limit = (__u32)BPF_CORE_READ(sk, sk_rcvbuf);
	return unread + size <= limit;
}

static __always_inline void accel_leave(struct weft_accel_pair *pair)
{
	if (__sync_fetch_and_or(&pair->flags, WEFT_ACCEL_LEFT) & WEFT_ACCEL_LEFT)
		return;
	count_reason(WEFT_REASON_ACCEL_LEFT, WEFT_EGRESS);
}

/*
 * The application asks this socket for something that only TCP gives. Whoever removes the offer first wins: the server
 * that takes it, or this. An entry without a server keeps one that has just taken it from joining.
 */
static __always_inline void accel_leave_socket(struct weft_accel *accel)
{
	struct weft_accel_pair *pair, none;
	struct weft_accel_tuple tuple = accel->tuple;
	__u64 key = accel->pair;

	pair = bpf_map_lookup_elem(&weft_accel_pair, &key);
	if (!pair && accel->end == WEFT_ACCEL_CLIENT && bpf_map_delete_elem(&weft_accel_meet, &tuple)) {
		__builtin_memset(&none, 0, sizeof none);
		none.cookie[WEFT_ACCEL_CLIENT] = key;
		none.flags = WEFT_ACCEL_LEFT;
		/* EEXIST: the server was first; then there is something to leave */
		(void)bpf_map_update_elem(&weft_accel_pair, &key, &none, BPF_NOEXIST);
		pair = bpf_map_lookup_elem(&weft_accel_pair, &key);
	}
	if (pair)
		accel_leave(pair);
}

/* Is the other end closed, or was there never one? */
static __always_inline bool accel_alone(const struct weft_accel_pair *pair, __u32 flags, __u32 other)
{
	const struct sock *sk;

	if (flags & WEFT_ACCEL_BIT(WEFT_ACCEL_CLOSED, other))
		return true;
	sk = accel_sock(pair, other);
	return !sk || BPF_CORE_READ(sk, __sk_common.skc_state) == WEFT_TCP_CLOSE;
}

/* This socket has ended: adds what skipped TCP to its bytes, and forgets the connection when both ends have ended. */
static __always_inline void accel_close(struct bpf_sock *sk, __u64 *sent, __u64 *received)
{
	struct weft_accel *accel = bpf_sk_storage_get(&weft_accel, sk, NULL, 0);
	struct weft_accel_pair *pair;
	struct weft_accel_tuple tuple;
	__u32 flags, own, other;
	__u64 key;

	if (!accel)
		return;
	key = accel->pair;
	own = accel->end & 1;
	other = own ^ 1;
	pair = bpf_map_lookup_elem(&weft_accel_pair, &key);
	if (pair) {
		*sent += pair->bytes[own];
		*received += pair->bytes[other];
		flags = __sync_fetch_and_or(&pair->flags, WEFT_ACCEL_BIT(WEFT_ACCEL_CLOSED, own));
		if (accel_alone(pair, flags, other))
			(void)bpf_map_delete_elem(&weft_accel_pair, &key); /* gone already: as good */
	} else if (own == WEFT_ACCEL_CLIENT) {
		tuple = accel->tuple;
		(void)bpf_map_delete_elem(&weft_accel_meet, &tuple); /* the same */
	}
	(void)bpf_sk_storage_delete(&weft_accel, sk); /* the socket may connect again, to elsewhere */
}

#endif
