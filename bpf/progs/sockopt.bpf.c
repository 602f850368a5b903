/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * cgroup/setsockopt: takes a joined socket out of acceleration before it gets what only TCP can give. Fails open but
 * for TCP_ULP, which a socket that was joined is refused: kernels break one or the other, older ones by plaintext.
 */
#include "lib/accel.bpf.h"

#define SOL_SOCKET 1
#define SO_RCVLOWAT 18
#define SO_ZEROCOPY 60
#define SO_TIMESTAMPING_OLD 37
#define SO_TIMESTAMPING_NEW 65
#define SOL_TCP 6
#define TCP_ULP 31
#define TCP_INQ 36

static __always_inline bool option_needs_tcp(__s32 level, __s32 name)
{
	if (level == SOL_TCP)
		return name == TCP_ULP || name == TCP_INQ;
	return level == SOL_SOCKET && (name == SO_RCVLOWAT || name == SO_ZEROCOPY || name == SO_TIMESTAMPING_OLD ||
	                               name == SO_TIMESTAMPING_NEW);
}

SEC("cgroup/setsockopt")
int weft_setsockopt(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct weft_accel *accel;

	/* Nothing is changed: with 0 the kernel takes the application's value, also one that is larger than a page. */
	if (!option_needs_tcp(ctx->level, ctx->optname) || !sk) {
		ctx->optlen = 0;
		return 1;
	}
	accel = bpf_sk_storage_get(&weft_accel, sk, NULL, 0);
	if (accel)
		accel_leave_socket(accel);
	if (accel && ctx->level == SOL_TCP && ctx->optname == TCP_ULP) {
		count_reason(WEFT_REASON_ACCEL_ULP, WEFT_EGRESS);
		(void)bpf_set_retval(-EOPNOTSUPP); /* cannot fail for a valid errno; else the caller sees EPERM */
		return 0;
	}
	ctx->optlen = 0;
	return 1;
}
