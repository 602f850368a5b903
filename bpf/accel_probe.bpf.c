/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * For the agent's question at start how this kernel treats joined sockets: hands what a socket sends to the socket that
 * the agent has put under its peer's port. Never sees a workload's socket: only those in its own map.
 */
#include "kernel.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} weft_probe_sk SEC(".maps");

SEC("sk_msg")
int weft_probe_msg(struct sk_msg_md *msg)
{
	__u32 port = bpf_ntohl(msg->remote_port); /* network order, in the upper half on little-endian machines */

	port = port > 0xffff ? port >> 16 : port;
	(void)bpf_msg_redirect_hash(msg, &weft_probe_sk, &port, BPF_F_INGRESS); /* not there: goes by TCP */
	return SK_PASS;
}

char weft_license[] SEC("license") = "Dual BSD/GPL";
