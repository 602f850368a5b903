// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The contract between kernel and agent: no hidden padding anywhere, and the offsets that BPF code was compiled for.
#include <gtest/gtest.h>

#include <cstddef>
#include <type_traits>

#include "weft/abi/accel.h"
#include "weft/abi/endpoint.h"
#include "weft/abi/event.h"
#include "weft/abi/limits.h"
#include "weft/abi/mesh.h"
#include "weft/abi/policy.h"
#include "weft/abi/reasons.h"
#include "weft/abi/rule_drops.h"
#include "weft/abi/service.h"
#include "weft/abi/socket.h"
#include "weft/abi/test_run.h"
#include "weft/abi/traffic.h"
#include "weft/abi/udp_flow.h"

namespace {

template <typename... T>
constexpr bool kNoPadding = (std::has_unique_object_representations_v<T> && ...);

static_assert(kNoPadding<weft_addr, weft_addr_port, weft_endpoint, weft_service, weft_slot_key, weft_slot,
                         weft_maglev_key, weft_maglev_chunk, weft_member_key, weft_affinity_key, weft_affinity,
                         weft_udp_nat_key, weft_udp_nat, weft_peer, weft_cidr_key, weft_policy_key, weft_policy_entry,
                         weft_ports_key, weft_socket, weft_udp_track_key, weft_udp_track, weft_conn, weft_mesh_key,
                         weft_mesh_dial, weft_mesh_peer, weft_mesh_listen_key, weft_event, weft_config, weft_run_select,
                         weft_run_decide, weft_traffic_key, weft_traffic, weft_others, weft_counted, weft_forget_args,
                         weft_histogram, weft_accel_tuple, weft_accel_offer, weft_accel_pair, weft_accel,
                         weft_udp_flow_key, weft_udp_flow, weft_udp_sweep, weft_rule_drops_key>);

TEST(Abi, OffsetsAreThoseTheKernelProgramsUse) {
    EXPECT_EQ(offsetof(weft_endpoint, flags), 56U);
    EXPECT_EQ(offsetof(weft_service, slot_count), 16U);
    EXPECT_EQ(offsetof(weft_socket, backend), 60U);
    EXPECT_EQ(offsetof(weft_socket, role), 80U);
    EXPECT_EQ(offsetof(weft_event, local), 96U);
    EXPECT_EQ(offsetof(weft_event, kind), 164U);
    EXPECT_EQ(offsetof(weft_ports_key, port_be), 14U);
    EXPECT_EQ(offsetof(weft_traffic_key, direction), 24U);
    EXPECT_EQ(offsetof(weft_others, sum), 8U);
    EXPECT_EQ(offsetof(weft_accel_pair, flags), 112U);
}

TEST(Abi, PortsPrefixCountsEverythingBeforeThePort) {
    EXPECT_EQ(WEFT_PORTS_PREFIX, 8U * (offsetof(weft_ports_key, port_be) - sizeof(__u32)));
}

TEST(Abi, MaglevSizeIsPrime) {
    for (int divisor = 2; divisor * divisor <= WEFT_MAGLEV_SIZE; ++divisor) {
        EXPECT_NE(WEFT_MAGLEV_SIZE % divisor, 0) << divisor;
    }
    EXPECT_GE(WEFT_MAGLEV_CHUNKS * WEFT_MAGLEV_CHUNK, WEFT_MAGLEV_SIZE);
}

TEST(Abi, MapAndProgramNamesFitTheKernels15Characters) {
    for (const char* name : {"weft_endpoint", "weft_udp_track", "weft_node_addr", "weft_conn_iter", "weft_connect4"}) {
        EXPECT_LE(std::char_traits<char>::length(name), 15U);
    }
}

} // namespace
