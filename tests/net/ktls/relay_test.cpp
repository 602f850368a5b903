// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weft-relay between two plain connections, on any kernel: bytes, ends, resets, deaths, upgrades and its limits.
#include <sys/socket.h>

#include <csignal>
#include <future>

#include <gtest/gtest.h>

#include "tests/net/ktls/pattern.hpp"
#include "tests/net/ktls/relay.hpp"

namespace weft::ktls {
namespace {

using test::End;
using test::Ending;
using test::kPatience;
using test::read_pattern;
using test::Relay;
using test::TcpPair;
using test::write_pattern;
using test::Writer;

constexpr std::uint64_t kMiB = 1 << 20;

// An application and a peer, with the relay between them.
struct Carried {
    explicit Carried(Relay& relay, std::uint64_t id = 7) {
        EXPECT_EQ(relay.carry(id, front.server, back.client, 0), WEFT_RELAY_OK);
    }
    TcpPair front;
    TcpPair back;
    [[nodiscard]] int app() const { return front.client.get(); }
    [[nodiscard]] int peer() const { return back.server.get(); }
};

TEST(Relay, CarriesBothWaysAndEndsInOrder) {
    Relay relay;
    const Carried c(relay);
    Writer out(c.app(), 64 * kMiB);
    Writer in(c.peer(), 64 * kMiB);
    auto at_peer = std::async(std::launch::async, [&] { return read_pattern(c.peer(), 0); });
    const auto at_app = read_pattern(c.app(), 0);
    EXPECT_TRUE(at_app.intact(64 * kMiB)) << at_app.text();
    const auto other = at_peer.get();
    EXPECT_TRUE(other.intact(64 * kMiB)) << other.text();
    EXPECT_EQ(at_app.end, End::kFin);
    EXPECT_EQ(other.end, End::kFin);
    const auto event = relay.event(7);
    EXPECT_EQ(event.reason, WEFT_RELAY_REASON_FINISHED);
    EXPECT_EQ(event.to_peer, 64 * kMiB);
    EXPECT_EQ(event.to_app, 64 * kMiB);
    EXPECT_EQ(relay.info().connections, 0U);
}

TEST(Relay, LosesNothingWhenItsChildIsKilled) {
    Relay relay;
    const Carried c(relay);
    Writer out(c.app(), 256 * kMiB);
    Writer in(c.peer(), 256 * kMiB);
    auto at_peer = std::async(std::launch::async, [&] { return read_pattern(c.peer(), 0); });
    auto at_app = std::async(std::launch::async, [&] { return read_pattern(c.app(), 0); });
    int kills = 0;
    while (at_app.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready && kills < 120) {
        relay.kill_child();
        ++kills;
    }
    const auto a = at_app.get();
    const auto p = at_peer.get();
    EXPECT_TRUE(a.intact(256 * kMiB)) << a.text();
    EXPECT_TRUE(p.intact(256 * kMiB)) << p.text();
    EXPECT_EQ(relay.info().child_deaths, static_cast<std::uint32_t>(kills));
    EXPECT_GE(kills, 5);
}

} // namespace
} // namespace weft::ktls
