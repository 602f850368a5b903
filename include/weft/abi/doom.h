/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which UDP sockets are to be destroyed: between the agent and bpf/reaper.bpf.c. Nothing of this is pinned. */
#ifndef WEFT_ABI_DOOM_H
#define WEFT_ABI_DOOM_H

#include "types.h"

/* Sockets of one pass over a network namespace; more take another pass. */
#define WEFT_DOOMED_ENTRIES 65536

/* weft_doom.fate before the socket was met; then it is bpf_sock_destroy's result: 0 or a negative errno. */
#define WEFT_DOOM_PENDING 1

/* Value of weft_doomed. */
struct weft_doom {
	struct weft_addr_port remote; /* a socket that is connected elsewhere by now is spared */
	__s32 fate;
};
WEFT_STATIC_ASSERT(sizeof(struct weft_doom) == 24, "no hidden padding");

#endif
