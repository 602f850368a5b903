/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* All hooks in one object: programs that share maps are then loaded, pinned and replaced together. */
#include "progs/connect.bpf.c"
#include "progs/datagram.bpf.c"
#include "progs/getpeername.bpf.c"
#include "progs/sock.bpf.c"
#include "progs/sockops.bpf.c"
#include "progs/sk_msg.bpf.c"
#include "progs/sockopt.bpf.c"
#include "progs/packet.bpf.c"
#include "progs/veth.bpf.c"
#include "progs/mesh.bpf.c"
#include "progs/conn_iter.bpf.c"
#include "progs/udp_sweep.bpf.c"
#include "progs/test_run.bpf.c"

/* Helpers that we call (sockops callbacks, socket casts) are for GPL-compatible programs only. */
char weft_license[] SEC("license") = "Dual BSD/GPL";
