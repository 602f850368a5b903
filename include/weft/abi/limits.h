/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Numbers that both the kernel and the agent must agree on, each with what happens beyond it. */
#ifndef WEFT_ABI_LIMITS_H
#define WEFT_ABI_LIMITS_H

/* Slots of one backend set. Weights are scaled down so that they fit; more backends than this are refused. */
#define WEFT_MAX_SLOTS 4096

/* Maglev table size: a prime well above 100 x the usual backend count (Eisenbud et al., NSDI 2016, section 5.3). */
#define WEFT_MAGLEV_SIZE 16381

/* Entries of one chunk of a Maglev table; one map value holds one chunk. */
#define WEFT_MAGLEV_CHUNK 512

/* Number of chunks that hold WEFT_MAGLEV_SIZE entries. */
#define WEFT_MAGLEV_CHUNKS ((WEFT_MAGLEV_SIZE + WEFT_MAGLEV_CHUNK - 1) / WEFT_MAGLEV_CHUNK)

/* A UDP flow without a packet for this long is forgotten; its next reply is judged like a new packet. */
#define WEFT_UDP_IDLE_SECONDS 60

/* UDP flows that are followed at one moment; datagrams of one beyond it pass untold, and are counted. */
#define WEFT_UDP_FLOW_ENTRIES 65536

/* Bytes of the flow event ring; events beyond it are lost and counted. */
#define WEFT_EVENT_RING_BYTES (1u << 20)

/* Capacity of the maps that the kernel itself fills; the least recently used entry makes room. */
#define WEFT_UDP_NAT_ENTRIES 16384
#define WEFT_UDP_TRACK_ENTRIES 16384
#define WEFT_AFFINITY_ENTRIES 16384
#define WEFT_ROUND_ROBIN_ENTRIES 4096

/* Connections that are between an application and the agent at one moment; the oldest is forgotten. */
#define WEFT_MESH_ENTRIES 16384

/* Listeners of the agent in pods, two per pod (IPv4, IPv6); a pod beyond it takes no encrypted connections. */
#define WEFT_MESH_LISTENERS 2048

/* Host ends of pods' veth pairs; the traffic of a pod beyond it is judged at its sockets only. */
#define WEFT_VETH_ENTRIES 4096

/* Capacity of the per-backend connection counts; a backend beyond it is chosen as if it had none, and counted. */
#define WEFT_CONNS_ENTRIES 131072

/* Sockets of connections inside the node that may skip TCP/IP; those beyond it stay with TCP. */
#define WEFT_ACCEL_SOCKETS 131072

/* Such connections between their two handshake ends at one moment; the oldest stays with TCP. */
#define WEFT_ACCEL_OFFERS 4096

/* Unread bytes at a socket from where on its peer sends by TCP, which knows how to wait. */
#define WEFT_ACCEL_UNREAD 4194304

#endif
