// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the authority takes back: exactly the connections that use it end, at once, and it opens none any more.
#include <chrono>

#include <gmock/gmock.h>

#include "tests/e2e/attack/attack_world.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::e2e {
namespace {

using ::testing::StartsWith;
using Clock = std::chrono::steady_clock;

/// From the authority's answer to the reset at the peer, on the whole way: its stream to the agents, their control
/// threads, the workers that carry.
constexpr std::chrono::seconds kSoon{1};

class Revocation : public AttackTest {
protected:
    /// A connection that has carried a line each way.
    static std::unique_ptr<TlsEnd> open(const std::string& pod, const Material& own) {
        auto end =
            std::make_unique<TlsEnd>(TlsEnd::Role::kClient, connect_from(pod, address("api")), Manners{.own = &own});
        EXPECT_TRUE(end->handshake()) << end->ending();
        EXPECT_TRUE(alive(*end)) << end->ending();
        return end;
    }
    /// Connections that `weft status` of a node says were closed by revocations.
    static std::uint64_t revoked(const std::string& node) {
        const auto status = nlohmann::json::parse(ask(node, {"status", "-o", "json"}), nullptr, false);
        EXPECT_TRUE(status.is_object()) << node;
        return std::stoull(status["mutual_tls"]["revoked"].get<std::string>());
    }
    static bool alive(TlsEnd& end) { return end.send("hi\n") && end.receive() == "hello\n"; }
};

TEST_F(Revocation, OfACertificateEndsItsConnectionsAndNoOthers) {
    const auto taken = genuine("client");
    const auto kept = genuine("client");
    const auto others = genuine("other");
    const auto victim = open("shop/client", taken);
    const auto twin = open("shop/client", kept); // the same identity, another serial
    const auto bystander = open("shop/other", others);
    const auto revoked_before = revoked("node-2");
    ASSERT_EQ(authority({"revoke", ktls::serial_of(taken.chain.front().get())}), 0);
    const auto began = Clock::now();
    EXPECT_EQ(victim->receive(), "");
    EXPECT_EQ(victim->ending(), "reset");
    EXPECT_LT(Clock::now() - began, kSoon);
    EXPECT_TRUE(alive(*twin)) << twin->ending();
    EXPECT_TRUE(alive(*bystander)) << bystander->ending();
    EXPECT_EQ(revoked("node-2"), revoked_before + 1);

    const auto before = counted("node-2", "server", "identity-refused");
    auto fd = connect_from("shop/client", address("api"));
    ASSERT_TRUE(fd.valid());
    const auto port = own_port(fd.get());
    TlsEnd again(TlsEnd::Role::kClient, std::move(fd), {.own = &taken});
    EXPECT_TRUE(again.handshake()); // the client's view; the server judges behind it
    EXPECT_EQ(again.receive(), "");
    EXPECT_THAT(again.ending(), StartsWith("alert"));
    EXPECT_TRUE(eventually([&] { return counted("node-2", "server", "identity-refused") == before + 1; }, 20));
    EXPECT_TRUE(flow_says("node-2", "identity-refused", port));
}

TEST_F(Revocation, OfAnIdentityEndsAllOfItsConnections) {
    const auto first = genuine("other");
    const auto second = genuine("other");
    const auto honest = genuine("client");
    const auto one = open("shop/other", first);
    const auto two = open("shop/other", second);
    const auto bystander = open("shop/client", honest);
    const auto revoked_before = revoked("node-2");
    ASSERT_EQ(authority({"revoke", "spiffe://cluster.local/ns/shop/sa/other"}), 0);
    const auto began = Clock::now();
    for (const auto* end : {&one, &two}) {
        EXPECT_EQ((*end)->receive(), "");
        EXPECT_EQ((*end)->ending(), "reset");
    }
    EXPECT_LT(Clock::now() - began, kSoon);
    EXPECT_TRUE(alive(*bystander)) << bystander->ending();
    EXPECT_EQ(revoked("node-2"), revoked_before + 2);
    EXPECT_TRUE(honest_peer_is_served());
    EXPECT_EQ(authority({"revoke", "--undo", "spiffe://cluster.local/ns/shop/sa/other"}), 0);
}

} // namespace
} // namespace weft::e2e
