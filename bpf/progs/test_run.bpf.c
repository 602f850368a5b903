/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The decisions as callable programs: `weft explain` and the tests ask them against the live maps. Never attached. */
#include "lib/policy.bpf.h"
#include "lib/select_backend.bpf.h"
#include "lib/traffic.bpf.h"
#include "weft/abi/test_run.h"

SEC("syscall")
int weft_run_sel(struct weft_run_select *args)
{
	struct weft_addr_port asked = args->asked;
	struct weft_choice choice = {};

	args->result = select_backend(&asked, args->client, args->source, &choice);
	args->backend = choice.backend;
	args->service = choice.service;
	return 0;
}

/* Removes a sum of connections, for the agent: the count of peers is the kernel's to change. */
SEC("syscall")
int weft_forget(struct weft_forget_args *args)
{
	struct weft_traffic_key key = args->key;
	struct weft_others *others;

	args->result = (__s32)bpf_map_delete_elem(&weft_traffic, &key);
	others = args->result ? NULL : bpf_map_lookup_elem(&weft_others, &key.workload);
	if (others)
		__sync_fetch_and_add(&others->peers, -1);
	return 0;
}

/*
 * The same for policy. Sleepable programs may not use an LPM trie, so this one is a packet program: the "packet" is
 * an Ethernet header's worth of bytes and then the arguments, which are written back in place.
 */
#define WEFT_RUN_OFFSET 14

SEC("tc")
int weft_run_dec(struct __sk_buff *skb)
{
	struct weft_run_decide args;
	struct weft_question question = {};
	const struct weft_endpoint *workload;
	__u64 rule = 0;

	if (bpf_skb_load_bytes(skb, WEFT_RUN_OFFSET, &args, sizeof args))
		return -1;
	question.peer = args.peer;
	question.proto = args.proto;
	question.direction = args.direction;
	question.port_be = bpf_htons(args.port);
	workload = bpf_map_lookup_elem(&weft_endpoint, &args.netns);
	args.verdict = workload ? policy_decide(workload, &question, &rule) : WEFT_VERDICT_UNKNOWN;
	args.rule = rule;
	return (int)bpf_skb_store_bytes(skb, WEFT_RUN_OFFSET, &args, sizeof args, 0);
}
