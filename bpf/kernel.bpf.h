/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The few kernel fields that programs read, by name: CO-RE finds their offsets in the running kernel's BTF. */
#ifndef WEFT_KERNEL_BPF_H
#define WEFT_KERNEL_BPF_H

#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3

/* include/net/tcp_states.h */
#define WEFT_TCP_ESTABLISHED 1
#define WEFT_TCP_FIN_WAIT1 4
#define WEFT_TCP_FIN_WAIT2 5
#define WEFT_TCP_TIME_WAIT 6
#define WEFT_TCP_CLOSE 7
#define WEFT_TCP_CLOSE_WAIT 8
#define WEFT_TCP_LAST_ACK 9
#define WEFT_TCP_LISTEN 10
#define WEFT_TCP_CLOSING 11

/* include/net/sock.h; the running kernel's own values are taken */
enum sock_flags {
	SOCK_DEAD,
	SOCK_DONE,     /* the peer's FIN was received */
	SOCK_ZEROCOPY, /* the application may ask for MSG_ZEROCOPY */
};

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic64_t;

struct sock_common {
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned long skc_flags; /* bits of enum sock_flags */
	int skc_bound_dev_if;
	__be16 skc_dport;
	__u16 skc_num;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};

struct sock {
	struct sock_common __sk_common;
	__u8 sk_kern_sock : 1;
	__u16 sk_protocol;
	int sk_err;
	int sk_rcvbuf;
	int sk_rcvlowat;
	__u8 sk_userlocks : 4;
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
};

struct inet_connection_sock {
	const void *icsk_ulp_ops;
};

struct tcp_sock {
	struct sock __unused_first; /* the real first member is an inet_connection_sock, which starts with a sock */
	bool is_mptcp;              /* only in kernels with CONFIG_MPTCP */
	__u64 bytes_acked;
	__u64 bytes_received;
	__u32 write_seq;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct udp_sock;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
};

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
};

#pragma clang attribute pop

#endif
