/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Every outcome off the normal path, once: the enum for the kernel, the names for the agent and the
 * table in the docs all come from this list. Counters are indexed by it, so append only.
 */
#ifndef WEFT_ABI_REASONS_H
#define WEFT_ABI_REASONS_H

/* X(enumerator, metric label, what happened and what became of the packet or call) */
#define WEFT_REASONS(X)                                                                                             \
	X(NONE, "none", "the normal path; never counted")                                                           \
	X(POLICY_DENIED, "policy-denied", "no NetworkPolicy rule allows it: refused at connect, dropped as packet") \
	X(NO_BACKEND, "no-backend", "the Service has no usable backend: connection refused")                        \
	X(SPOOFED_SOURCE, "spoofed-source", "source address is not the workload's own: packet dropped")             \
	X(UNKNOWN_WORKLOAD, "unknown-workload", "socket of a network namespace no pod owns: refused or dropped")    \
	X(UNPARSABLE, "unparsable", "headers could not be read: dropped if the workload is isolated")               \
	X(STORAGE_FAILED, "storage-failed", "no memory for per-socket state: refused or dropped")                   \
	X(SLOT_MISSING, "slot-missing", "backend set changed during the choice more often than retried: refused")   \
	X(UDP_NAT_FULL, "udp-nat-full", "translation of an unconnected UDP flow not stored: send refused")          \
	X(UDP_TRACK_FULL, "udp-track-full", "UDP flow not tracked: packet dropped, because its reply would be")     \
	X(CONNS_FULL, "conns-full", "connection count of a backend not stored: it counts as idle")                  \
	X(AFFINITY_FULL, "affinity-full", "session affinity not stored: this client may move")                      \
	X(KERNEL_SOCKET, "kernel-socket", "socket owned by the kernel itself: left alone")                          \
	X(CONFIG_MISSING, "config-missing", "configuration map unreadable: refused or dropped")                     \
	X(EVENT_LOST, "event-lost", "flow event ring full: event lost, counters stay exact")                        \
	X(AFFINITY_STALE, "affinity-stale", "remembered backend is gone: a new one was chosen")                     \
	X(SET_RETRIED, "set-retried", "backend set changed during the choice: chosen again")                        \
	X(MESH_NOT_READY, "mesh-not-ready", "mutual TLS wanted, but the agent has no listener in the pod: refused") \
	X(PLAINTEXT_REFUSED, "plaintext-refused", "plaintext from another node to a strict workload: refused")      \
	X(PLAINTEXT_FROM_NODE, "plaintext-from-node", "plaintext from the node to a strict workload: passed")       \
	X(TRAFFIC_OTHER, "traffic-other", "workload with too many peers, or table full: counted as peer 'other'")   \
	X(TRAFFIC_LOST, "traffic-lost", "no memory to count by peer: connection is in no istio_tcp metric")         \
	X(ACCEL_FULL, "accel-full", "no room to join two sockets of this node: their connection stays with TCP")    \
	X(ACCEL_LEFT, "accel-left", "joined connection went back to TCP: unread data, policy, option or peer gone") \
	X(ACCEL_ULP, "accel-ulp", "TCP_ULP on a joined socket: refused, as kernels break one or the other")         \
	X(UDP_FLOW_FULL, "udp-flow-full", "too many UDP flows: datagram passed, but is part of no flow's report")   \
	X(RULE_DROPS_FULL, "rule-drops-full", "too many policy classes deny: denial is in no weft_rule_drops_total")

#define WEFT_REASON_ENUM(name, label, help) WEFT_REASON_##name,
enum weft_reason { WEFT_REASONS(WEFT_REASON_ENUM) WEFT_REASON_COUNT };
#undef WEFT_REASON_ENUM

/* Directions, seen from the workload that enforces. */
#define WEFT_INGRESS 0
#define WEFT_EGRESS 1
#define WEFT_DIRECTION_COUNT 2

#endif
