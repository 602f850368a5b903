/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What connect and sendmsg share: who calls, which backend, may it, and how a refusal looks. Fails closed. */
#ifndef WEFT_LIB_CALL_BPF_H
#define WEFT_LIB_CALL_BPF_H

#include "lib/event.bpf.h"
#include "lib/policy.bpf.h"
#include "lib/rule_drops.bpf.h"
#include "lib/select_backend.bpf.h"
#include "lib/socket.bpf.h"

/* What a hook returns to the kernel, and call_begin's word that the call is to be judged and translated. */
#define WEFT_CALL_REFUSED 0
#define WEFT_CALL_PASS 1
#define WEFT_CALL_GO 2

/* One call that names a destination. */
struct weft_call {
	struct weft_addr_port asked; /* what the application asked for */
	struct weft_addr_port to;    /* where it goes; equal to asked when it is no Service */
	__u64 service;               /* 0: no Service */
	__u64 rule;                  /* rule that allowed */
	__u64 cookie;                /* socket cookie */
	bool translated;
};

/* Refuses the system call with an errno that every caller knows how to handle (a bare 0 would give EPERM). */
static __always_inline int call_refuse(void)
{
	(void)bpf_set_retval(-ECONNREFUSED); /* cannot fail for a valid errno; without it the caller sees EPERM */
	return WEFT_CALL_REFUSED;
}

static __always_inline void call_report(const struct weft_call *call, const struct weft_socket *socket,
                                        const struct weft_endpoint *workload, __u8 kind, __u8 reason)
{
	struct weft_event *event;

	count_reason(reason, WEFT_EGRESS);
	(void)count_rule(workload, reason, WEFT_EGRESS);
	event = event_begin(kind, reason, WEFT_EGRESS);
	if (!event)
		return;
	event->cookie = call->cookie;
	event->netns = socket->netns;
	event->workload = workload->workload;
	event->service = call->service;
	event->rule = call->rule;
	event->local.addr = addr_is_v4(&call->asked.addr) ? workload->addr4 : workload->addr6;
	event->local.proto = call->asked.proto;
	event->remote = call->to;
	event->asked = call->asked;
	event_send(event);
}

/* Reads and writes the address of a bpf_sock_addr context, whichever family. */
static __always_inline void call_read(struct bpf_sock_addr *ctx, bool v4, struct weft_addr_port *end)
{
	if (v4) {
		end->addr = addr_v4(ctx->user_ip4);
	} else {
		end->addr.word[0] = ctx->user_ip6[0];
		end->addr.word[1] = ctx->user_ip6[1];
		end->addr.word[2] = ctx->user_ip6[2];
		end->addr.word[3] = ctx->user_ip6[3];
	}
	end->port = bpf_ntohs((__u16)ctx->user_port);
	end->proto = (__u8)ctx->protocol;
	end->pad = 0;
}

static __always_inline void call_write(struct bpf_sock_addr *ctx, bool v4, const struct weft_addr_port *end)
{
	if (v4) {
		ctx->user_ip4 = end->addr.word[3];
	} else {
		ctx->user_ip6[0] = end->addr.word[0];
		ctx->user_ip6[1] = end->addr.word[1];
		ctx->user_ip6[2] = end->addr.word[2];
		ctx->user_ip6[3] = end->addr.word[3];
	}
	ctx->user_port = bpf_htons(end->port);
}

/*
 * Fills *call with what the application asks for, and finds (or makes) the socket's state and its workload. Returns
 * WEFT_CALL_GO, or what the hook returns.
 */
static __always_inline int call_begin(struct bpf_sock_addr *ctx, bool v4, struct weft_call *call,
                                      struct weft_socket **out_socket, const struct weft_endpoint **out_workload)
{
	struct bpf_sock *sk = ctx->sk;
	struct weft_socket *socket;
	const struct weft_endpoint *workload;

	if (!sk)
		return WEFT_CALL_PASS;
	call_read(ctx, v4, &call->asked);
	call->to = call->asked;
	socket = bpf_sk_storage_get(&weft_socket, sk, NULL, 0);
	if (!socket) {
		/* Either older than our hooks, or the kernel's own. */
		if (socket_is_kernels(sk)) {
			count_reason(WEFT_REASON_KERNEL_SOCKET, WEFT_EGRESS);
			return WEFT_CALL_PASS;
		}
		socket = bpf_sk_storage_get(&weft_socket, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (!socket) {
			count_reason(WEFT_REASON_STORAGE_FAILED, WEFT_EGRESS);
			return call_refuse();
		}
		socket->netns = bpf_get_netns_cookie(ctx);
	}
	if (socket->flags & WEFT_SOCKET_AGENT)
		return WEFT_CALL_PASS;
	workload = endpoint_of(socket);
	if (!workload) {
		if (addr_is_self(&call->asked.addr) || unknown_may_pass())
			return WEFT_CALL_PASS;
		count_reason(WEFT_REASON_UNKNOWN_WORKLOAD, WEFT_EGRESS);
		return call_refuse();
	}
	if (workload->flags & WEFT_ENDPOINT_EXTERNAL)
		return WEFT_CALL_PASS;
	call->cookie = bpf_get_socket_cookie(ctx);
	*out_socket = socket;
	*out_workload = workload;
	return WEFT_CALL_GO;
}

/* The client's number for consistent hashing: its address, so that every node agrees; the netns where it has none. */
static __always_inline __u64 call_source(const struct weft_endpoint *workload, const struct weft_socket *socket)
{
	const struct weft_addr *addr = addr_is_v4(&workload->addr4) ? &workload->addr4 : &workload->addr6;
	__u64 high = (__u64)addr->word[0] << 32 | addr->word[1];
	__u64 low = (__u64)addr->word[2] << 32 | addr->word[3];

	return high || low ? mix64(high) ^ low : socket->netns;
}

/* Translates call->asked to call->to. Returns 0, or -ECONNREFUSED (reported) when the Service has no backend. */
static __always_inline int call_translate(struct weft_call *call, const struct weft_socket *socket,
                                          const struct weft_endpoint *workload)
{
	struct weft_choice choice = {};
	struct weft_addr_port asked = call->asked;
	int result;

	call->to = call->asked;
	if (asked.proto != IPPROTO_TCP && asked.proto != IPPROTO_UDP)
		return 0;
	result = select_backend(&asked, socket->netns, call_source(workload, socket), &choice);
	if (result > 0)
		return 0;
	call->service = choice.service;
	if (result < 0) {
		call_report(call, socket, workload, WEFT_EVENT_NO_BACKEND, WEFT_REASON_NO_BACKEND);
		return result;
	}
	call->to = choice.backend;
	call->translated = true;
	count_add(WEFT_COUNTER_TRANSLATIONS, 1);
	return 0;
}

static __always_inline int call_decide(struct weft_call *call, const struct weft_endpoint *workload)
{
	struct weft_question question = {
		.peer = call->to.addr,
		.port_be = bpf_htons(call->to.port),
		.proto = call->to.proto,
		.direction = WEFT_EGRESS,
	};

	return policy_decide(workload, &question, &call->rule);
}

#endif
