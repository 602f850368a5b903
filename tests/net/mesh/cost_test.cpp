// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What a connection that weft-relay carries costs the agent: facts for lists and revocation, and secrets for new keys.
#include <malloc.h>

#include <gtest/gtest.h>

#include "agent/mesh/rekey.hpp"
#include "agent/mesh/stats.hpp"

namespace weft::mesh {
namespace {

TEST(MeshCost, AnIdleConnectionTakesLessThanFourKiBOfTheAgent) {
    constexpr std::size_t kConnections = 8000;
    Stats stats;
    Secrets secrets;
    const auto workload = std::make_shared<Workload>();
    const auto before = ::mallinfo2().uordblks;
    for (std::size_t i = 0; i < kConnections; ++i) {
        ConnectionFacts facts;
        facts.workload = workload;
        facts.peer = *SpiffeId::make("cluster.example.org", "a-namespace-of-some-length", "a-service-account-too");
        facts.own_serial = facts.peer_serial = std::string(40, 'f');
        facts.cipher = "TLS_AES_256_GCM_SHA384";
        facts.group = "X25519MLKEM768";
        facts.in_relay = true;
        const auto id = stats.carried(facts);
        secrets.put(id, ktls::Traffic());
    }
    const auto each = (::mallinfo2().uordblks - before) / kConnections;
    EXPECT_GT(each, 300U) << "else this measures nothing";
    EXPECT_LT(each, 4096U);
    EXPECT_EQ(stats.connections().size(), kConnections);
}

} // namespace
} // namespace weft::mesh
