/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * iter/udp: destroys the doomed UDP sockets of the network namespace in which the iterator was started. An object of
 * its own, since bpf_sock_destroy came with 6.5: where it does not load, the agent uses netlink instead.
 */
#include "lib/sock_ends.bpf.h"
#include "weft/abi/doom.h"

extern int bpf_sock_destroy(struct sock_common *sock) __ksym __weak;

/* socket cookie -> what became of it; written by the agent before, read by it after */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, WEFT_DOOMED_ENTRIES);
	__type(key, __u64);
	__type(value, struct weft_doom);
} weft_doomed SEC(".maps");

SEC("iter/udp")
int weft_reap_udp(struct bpf_iter__udp *ctx)
{
	struct sock_common *sk = (struct sock_common *)ctx->udp_sk;
	struct weft_addr_port local = {}, remote = { .proto = IPPROTO_UDP };
	struct weft_doom *doom;
	__u64 cookie;

	if (!sk)
		return 0;
	cookie = bpf_get_socket_cookie(sk);
	doom = bpf_map_lookup_elem(&weft_doomed, &cookie);
	if (doom && !sock_ends(sk, &local, &remote) && addr_port_equal(&remote, &doom->remote))
		doom->fate = bpf_sock_destroy(sk);
	return 0;
}

char weft_license[] SEC("license") = "Dual BSD/GPL";
