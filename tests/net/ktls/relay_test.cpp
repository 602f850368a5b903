// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weft-relay between two plain connections, on any kernel: bytes, ends, resets, deaths, upgrades and its limits.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <future>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/net/ktls/pattern.hpp"
#include "tests/net/ktls/relay.hpp"

namespace weft::ktls {
namespace {

using test::Carried;
using test::End;
using test::Ending;
using test::kPatience;
using test::read_pattern;
using test::Relay;
using test::TcpPair;
using test::write_pattern;
using test::Writer;

constexpr std::uint64_t kMiB = 1 << 20;

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

// Everything that a child opens is in its parent's table, too: nothing of the dead ones may stay there.
TEST(Relay, DeadChildrenAndUpgradesLeaveNoDescriptors) {
    Relay relay;
    const Carried c(relay);
    const auto open_files = [&] {
        return std::distance(std::filesystem::directory_iterator("/proc/" + std::to_string(relay.pid()) + "/fd"), {});
    };
    const auto exchange = [&] {
        ASSERT_EQ(write_pattern(c.app(), 1000, {.ending = Ending::kNone}), 0);
        ASSERT_TRUE(read_pattern(c.peer(), 1000, {.until_end = false}).intact(1000));
    };
    relay.kill_child();
    exchange();
    const auto before = open_files();
    for (int i = 0; i < 10; ++i) {
        relay.kill_child();
        exchange();
        ASSERT_TRUE(relay.client().upgrade().has_value());
        ASSERT_EQ(relay.client().await(WEFT_RELAY_UPGRADE, kPatience)->head.status, WEFT_RELAY_OK);
        exchange();
    }
    EXPECT_EQ(open_files(), before);
}

TEST(Relay, ADeadChildIsMissedForAMomentOnly) {
    Relay relay;
    const Carried c(relay);
    std::vector<double> stalls;
    for (int i = 0; i < 20; ++i) {
        ASSERT_EQ(::kill(static_cast<pid_t>(relay.info().child_pid), SIGKILL), 0);
        const auto begin = std::chrono::steady_clock::now();
        ASSERT_EQ(write_pattern(c.app(), 1000, {.ending = Ending::kNone}), 0);
        ASSERT_TRUE(read_pattern(c.peer(), 1000, {.until_end = false}).intact(1000));
        stalls.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    }
    std::ranges::sort(stalls);
    EXPECT_LE(stalls[stalls.size() / 2], 200.0);
}

TEST(Relay, HalfClosesInEitherOrder) {
    for (const bool app_first : {true, false}) {
        Relay relay;
        const Carried c(relay);
        const int first = app_first ? c.app() : c.peer();
        const int second = app_first ? c.peer() : c.app();
        ASSERT_EQ(write_pattern(first, 100000), 0);
        const auto request = read_pattern(second, 0);
        EXPECT_TRUE(request.intact(100000)) << request.text();
        EXPECT_EQ(request.end, End::kFin);
        // What one side ended stays ended, whoever carries it; the other direction still works.
        relay.kill_child();
        const auto entry = relay.entry(7);
        ASSERT_TRUE(entry.has_value());
        EXPECT_EQ(app_first ? entry->app_ended : entry->peer_ended, 1);
        EXPECT_EQ(app_first ? entry->peer_ended : entry->app_ended, 0);
        Writer answer(second, 3 * kMiB);
        const auto got = read_pattern(first, 0);
        EXPECT_TRUE(got.intact(3 * kMiB)) << got.text();
        EXPECT_EQ(relay.event(7).reason, WEFT_RELAY_REASON_FINISHED);
    }
}

TEST(Relay, ConnectionsWithoutBytesAndWithSingleOnes) {
    Relay relay;
    {
        const Carried c(relay);
        EXPECT_EQ(::shutdown(c.app(), SHUT_WR), 0);
        EXPECT_EQ(read_pattern(c.peer(), 0).end, End::kFin);
        EXPECT_EQ(::shutdown(c.peer(), SHUT_WR), 0);
        EXPECT_EQ(read_pattern(c.app(), 0).end, End::kFin);
        EXPECT_EQ(relay.event(7).reason, WEFT_RELAY_REASON_FINISHED);
    }
    const Carried c(relay, 8);
    Writer out(c.app(), 3000, {.step = 1});
    const auto got = read_pattern(c.peer(), 0);
    EXPECT_TRUE(got.intact(3000)) << got.text();
}

TEST(Relay, UrgentBytesGoOnInLineAndStopNothing) {
    Relay relay;
    const Carried c(relay);
    for (int i = 0; i < 20; ++i) {
        ASSERT_EQ(::send(c.app(), "before", 6, 0), 6);
        ASSERT_EQ(::send(c.app(), "!", 1, MSG_OOB), 1);
        ASSERT_EQ(::send(c.app(), "after", 5, 0), 5);
        std::string got(12, ' ');
        ASSERT_EQ(::recv(c.peer(), got.data(), got.size(), MSG_WAITALL), 12);
        EXPECT_EQ(got, "before!after");
    }
    ASSERT_EQ(::send(c.app(), "!", 1, MSG_OOB), 1);
    ASSERT_EQ(::shutdown(c.app(), SHUT_WR), 0);
    char last[2];
    EXPECT_EQ(::recv(c.peer(), last, 2, MSG_WAITALL), 1) << "and then the end";
}

TEST(Relay, ResetsTravelBothWays) {
    for (const bool app_resets : {true, false}) {
        for (const bool half_closed : {true, false}) {
            Relay relay;
            Carried c(relay);
            ASSERT_EQ(write_pattern(c.app(), 1000, {.ending = Ending::kNone}), 0);
            ASSERT_TRUE(read_pattern(c.peer(), 1000, {.until_end = false}).intact(1000));
            auto& dying = app_resets ? c.front.client : c.back.server;
            const int other = app_resets ? c.peer() : c.app();
            if (half_closed) {
                // Nobody reads from this side any more, so only the socket's error tells.
                ASSERT_EQ(::shutdown(dying.get(), SHUT_WR), 0);
                ASSERT_EQ(read_pattern(other, 0).end, End::kFin);
            }
            test::reset_on_close(dying.get());
            dying.reset();
            EXPECT_EQ(relay.event(7).reason, app_resets ? WEFT_RELAY_REASON_APP_RESET : WEFT_RELAY_REASON_PEER_RESET);
            if (half_closed) {
                EXPECT_TRUE(test::eventually([&] { return ::send(other, "x", 1, MSG_NOSIGNAL) < 0; }));
            } else {
                EXPECT_EQ(read_pattern(other, 0).end, End::kReset);
            }
        }
    }
}

TEST(Relay, ClosesOnRequestWithAReset) {
    Relay relay;
    const Carried kept(relay, 1);
    const Carried closed(relay, 2);
    ASSERT_TRUE(relay.client().close(2).has_value());
    ASSERT_EQ(relay.client().await(WEFT_RELAY_CLOSE, kPatience)->head.status, WEFT_RELAY_OK);
    EXPECT_EQ(read_pattern(closed.app(), 0).end, End::kReset);
    EXPECT_EQ(read_pattern(closed.peer(), 0).end, End::kReset);
    EXPECT_EQ(relay.event(2).reason, WEFT_RELAY_REASON_REQUESTED);
    ASSERT_TRUE(relay.client().close(2).has_value());
    EXPECT_EQ(relay.client().await(WEFT_RELAY_CLOSE, kPatience)->head.status, WEFT_RELAY_UNKNOWN_ID);
    EXPECT_TRUE(relay.entry(1).has_value());
}

TEST(Relay, GoesOnWithoutTheAgent) {
    Relay relay;
    auto agent = RelayClient::connect(relay.path());
    ASSERT_TRUE(agent.has_value());
    TcpPair front;
    TcpPair back;
    ASSERT_TRUE(agent->hand_over(5, front.server.get(), back.client.get(), 0).has_value());
    ASSERT_TRUE(agent->await(WEFT_RELAY_HAND_OVER, kPatience).has_value());
    front.server.reset();
    back.client.reset();
    Writer out(front.client.get(), 32 * kMiB);
    ASSERT_TRUE(read_pattern(back.server.get(), kMiB, {.until_end = false}).intact(kMiB));
    {
        const auto gone = std::move(*agent); // as when weftd is killed: its socket closes
    }
    const auto rest = read_pattern(back.server.get(), 0, {.offset = kMiB});
    EXPECT_TRUE(rest.intact(31 * kMiB)) << rest.text();
    back.server.reset();
    EXPECT_EQ(relay.event(5).to_peer, 32 * kMiB) << "the next agent is told";
}

TEST(Relay, UpgradesItselfUnderLoad) {
    Relay relay;
    const Carried c(relay);
    const Carried idle(relay, 8);
    Writer out(c.app(), 256 * kMiB);
    Writer in(c.peer(), 256 * kMiB);
    auto at_peer = std::async(std::launch::async, [&] { return read_pattern(c.peer(), 0); });
    auto at_app = std::async(std::launch::async, [&] { return read_pattern(c.app(), 0); });
    const auto before = relay.info();
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(relay.client().upgrade().has_value());
        const auto answer = relay.client().await(WEFT_RELAY_UPGRADE, kPatience);
        ASSERT_TRUE(answer.has_value()) << answer.error().message();
        EXPECT_EQ(answer->head.status, WEFT_RELAY_OK);
    }
    const auto a = at_app.get();
    const auto p = at_peer.get();
    EXPECT_TRUE(a.intact(256 * kMiB)) << a.text();
    EXPECT_TRUE(p.intact(256 * kMiB)) << p.text();
    const auto after = relay.info();
    EXPECT_EQ(after.upgrades, 10U);
    EXPECT_EQ(after.parent_pid, before.parent_pid);
    EXPECT_NE(after.child_pid, before.child_pid);
    EXPECT_EQ(relay.event(7).reason, WEFT_RELAY_REASON_FINISHED) << "this client is still the one that watches";
    ASSERT_EQ(write_pattern(idle.app(), 100), 0);
    EXPECT_TRUE(read_pattern(idle.peer(), 0).intact(100));
    const Carried later(relay, 9);
    ASSERT_EQ(write_pattern(later.app(), 100), 0);
    EXPECT_TRUE(read_pattern(later.peer(), 0).intact(100));
}

TEST(Relay, DoesNotBecomeAProgramThatCannotTakeOver) {
    const std::string copy = "/tmp/weft-relay-copy-" + std::to_string(::getpid());
    std::filesystem::copy_file(Relay::program(), copy, std::filesystem::copy_options::overwrite_existing);
    Relay relay("", copy);
    const Carried c(relay);
    for (const auto* replacement : {"/bin/false", ""}) {
        std::filesystem::remove(copy);
        if (*replacement != '\0') {
            std::filesystem::copy_file(replacement, copy);
        }
        ASSERT_TRUE(relay.client().upgrade().has_value());
        EXPECT_EQ(relay.client().await(WEFT_RELAY_UPGRADE, kPatience)->head.status, WEFT_RELAY_NOT_ACCEPTED);
    }
    ASSERT_EQ(write_pattern(c.app(), 100000), 0);
    EXPECT_TRUE(read_pattern(c.peer(), 0).intact(100000));
}

TEST(Relay, DeathOfTheParentResetsEverything) {
    Relay relay;
    const Carried c(relay);
    ASSERT_EQ(write_pattern(c.app(), 100, {.ending = Ending::kNone}), 0);
    ASSERT_TRUE(read_pattern(c.peer(), 100, {.until_end = false}).intact(100));
    ASSERT_EQ(::kill(relay.pid(), SIGKILL), 0);
    EXPECT_EQ(read_pattern(c.app(), 0).end, End::kReset) << "never a clean end";
    EXPECT_EQ(read_pattern(c.peer(), 0).end, End::kReset);
}

} // namespace
} // namespace weft::ktls
