/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which backend of a Service gets this connection? Knows sets and choices; knows nothing of sockets or contexts. */
#ifndef WEFT_LIB_SELECT_BACKEND_BPF_H
#define WEFT_LIB_SELECT_BACKEND_BPF_H

#include "lib/addr.bpf.h"
#include "lib/count.bpf.h"
#include "maps/choice.bpf.h"
#include "maps/service.bpf.h"

/* Attempts before a set that keeps changing under our feet is given up. */
#define WEFT_SELECT_ATTEMPTS 3

struct weft_choice {
	struct weft_addr_port backend;
	__u32 pad;
	__u64 service;
};

/* The Service that owns this address and port, or NULL. Node ports match any node address, never loopback. */
static __always_inline const struct weft_service *service_find(const struct weft_addr_port *asked)
{
	const struct weft_service *service = bpf_map_lookup_elem(&weft_service, asked);
	struct weft_addr_port wildcard = *asked;

	if (service)
		return service;
	wildcard.addr.word[3] = 0;
	if (!addr_is_v4(&asked->addr)) {
		wildcard.addr.word[0] = 0;
		wildcard.addr.word[1] = 0;
		wildcard.addr.word[2] = 0;
	}
	service = bpf_map_lookup_elem(&weft_service, &wildcard);
	if (!service || !(service->flags & WEFT_SERVICE_NODE_PORT))
		return NULL;
	if (addr_is_self(&asked->addr) || !bpf_map_lookup_elem(&weft_node_addr, &asked->addr))
		return NULL;
	return service;
}

static __always_inline const struct weft_slot *slot_at(__u64 set, __u32 index)
{
	struct weft_slot_key key = { .set = set, .index = index };

	return bpf_map_lookup_elem(&weft_slot, &key);
}

/* Finalizer of MurmurHash3: full avalanche, so that neighbouring addresses land far apart. */
static __always_inline __u64 mix64(__u64 x)
{
	x ^= x >> 33;
	x *= 0xff51afd7ed558ccdULL;
	x ^= x >> 33;
	x *= 0xc4ceb9fe1a85ec53ULL;
	x ^= x >> 33;
	return x;
}

static __always_inline __u32 pick_maglev(const struct weft_service *service, __u64 client)
{
	__u32 entry = (__u32)(mix64(client ^ service->service) % WEFT_MAGLEV_SIZE);
	struct weft_maglev_key key = { .set = service->set, .chunk = entry / WEFT_MAGLEV_CHUNK };
	const struct weft_maglev_chunk *chunk = bpf_map_lookup_elem(&weft_maglev, &key);

	if (!chunk)
		return service->slot_count; /* no such slot: the caller tries again */
	return chunk->slot[entry % WEFT_MAGLEV_CHUNK];
}

static __always_inline __u32 pick_round_robin(const struct weft_service *service)
{
	__u64 id = service->service;
	__u32 first = 1;
	__u32 *next = bpf_map_lookup_elem(&weft_rr, &id);

	if (next)
		return __sync_fetch_and_add(next, 1) % service->slot_count;
	/* Lost races and a full map only cost the even spread of the first choices. */
	(void)bpf_map_update_elem(&weft_rr, &id, &first, BPF_NOEXIST);
	return 0;
}

/* Open connections, never negative: an entry may be younger than the connections it misses. */
static __always_inline __u64 backend_load(const struct weft_addr_port *backend)
{
	const __s64 *count = bpf_map_lookup_elem(&weft_conns, backend);

	return count && *count > 0 ? (__u64)*count : 0;
}

/* Power of two choices (Mitzenmacher 2001): the less loaded, for its weight, of two random slots. */
static __always_inline __u32 pick_least_connections(const struct weft_service *service)
{
	__u32 a = bpf_get_prandom_u32() % service->slot_count;
	__u32 b = bpf_get_prandom_u32() % service->slot_count;
	const struct weft_slot *slot_a, *slot_b;

	if (service->slot_count > 1 && a == b)
		b = (a + 1) % service->slot_count;
	slot_a = slot_at(service->set, a);
	slot_b = slot_at(service->set, b);
	if (!slot_a || !slot_b)
		return service->slot_count;
	/* load / weight, compared without division; +1 so that an idle heavy backend beats an idle light one */
	return (backend_load(&slot_a->backend) + 1) * slot_b->weight <=
	                       (backend_load(&slot_b->backend) + 1) * slot_a->weight ?
	               a :
	               b;
}

static __always_inline bool member_usable(__u64 service, const struct weft_addr_port *backend)
{
	struct weft_member_key key = { .service = service, .backend = *backend };

	return bpf_map_lookup_elem(&weft_member, &key) != NULL;
}

/*
 * Chooses a backend for `asked`. `client` is the netns cookie, `source` a number that names the client everywhere
 * (its address). Returns 0 with *choice filled, 1 when `asked` is no Service, -ECONNREFUSED when it has no backend.
 */
static __noinline int select_backend(const struct weft_addr_port *asked, __u64 client, __u64 source,
                                     struct weft_choice *choice)
{
	const struct weft_service *service;
	const struct weft_slot *slot;
	struct weft_affinity_key affinity_key = {};
	struct weft_affinity *affinity;
	__u64 now = 0;

	if (!asked || !choice)
		return 1; /* never happens; a subprogram's pointers may be null to the verifier */
	for (int attempt = 0; attempt < WEFT_SELECT_ATTEMPTS; attempt++) {
		__u32 index;

		service = service_find(asked);
		if (!service)
			return 1;
		choice->service = service->service;
		if (service->slot_count == 0)
			return -ECONNREFUSED;
		if (service->flags & WEFT_SERVICE_AFFINITY) {
			affinity_key.service = service->service;
			affinity_key.client = client;
			now = bpf_ktime_get_ns();
			affinity = bpf_map_lookup_elem(&weft_affinity, &affinity_key);
			if (affinity && now - affinity->last_used_ns < service->affinity_seconds * 1000000000ULL) {
				if (member_usable(service->service, &affinity->backend)) {
					affinity->last_used_ns = now;
					choice->backend = affinity->backend;
					return 0;
				}
				count_reason(WEFT_REASON_AFFINITY_STALE, WEFT_EGRESS);
			}
		}
		if (service->algorithm == WEFT_ALGORITHM_MAGLEV)
			index = pick_maglev(service, source);
		else if (service->algorithm == WEFT_ALGORITHM_ROUND_ROBIN)
			index = pick_round_robin(service);
		else if (service->algorithm == WEFT_ALGORITHM_LEAST_CONNECTIONS)
			index = pick_least_connections(service);
		else
			index = bpf_get_prandom_u32() % service->slot_count;
		slot = slot_at(service->set, index);
		if (slot) {
			choice->backend = slot->backend;
			if (service->flags & WEFT_SERVICE_AFFINITY) {
				struct weft_affinity fresh = { .last_used_ns = now, .backend = slot->backend };

				if (bpf_map_update_elem(&weft_affinity, &affinity_key, &fresh, BPF_ANY))
					count_reason(WEFT_REASON_AFFINITY_FULL, WEFT_EGRESS);
			}
			return 0;
		}
		/* The set was replaced between the two look-ups: its frontend names the new one by now. */
		count_reason(WEFT_REASON_SET_RETRIED, WEFT_EGRESS);
	}
	count_reason(WEFT_REASON_SLOT_MISSING, WEFT_EGRESS);
	return -ECONNREFUSED;
}

#endif
