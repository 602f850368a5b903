// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What may die, vanish or jump while connections are carried, and what they lose by it: nothing.
#include <signal.h>
#include <poll.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <gmock/gmock.h>

#include "tests/e2e/mesh/mesh_lab.hpp"

namespace weft::e2e {
namespace {

using ::testing::EndsWith;
using ::testing::StartsWith;

class MeshSurvival : public MeshLab {
protected:
    /// Do the certificates of both nodes' workloads show this?
    static bool both_list(const std::string& what) {
        return std::ranges::all_of(std::array{"node-1", "node-2"}, [&](const char* node) {
            return ask(node, {"certificate", "list"}).dump().find(what) != std::string::npos;
        });
    }
    /// kill -9 of a node's weftd, and wait until it is gone.
    static void kill_agent(const std::string& node) {
        ASSERT_EQ(lab().run({"kill-agent", node}).exit_code, 0);
        ASSERT_TRUE(eventually([&] { return !agent_answers(node); }, kPatience));
    }
    static void start_agent(const std::string& node) {
        ASSERT_EQ(lab().run({"restart-agent", node}).exit_code, 0);
        ASSERT_TRUE(eventually([&] { return agent_answers(node); }, kPatience));
    }
    static bool agent_answers(const std::string& node) {
        const auto status = lab().status();
        for (const auto& one : status["nodes"]) {
            if (one["name"] == node) {
                return one["agentReady"].get<bool>();
            }
        }
        return false;
    }
    static void wire(const std::string& state) {
        const auto done =
            lab::run_captured({.argv = {"ip", "-n", "weft-" + lab().name() + "-wire", "link", "set", "n2", state}});
        ASSERT_TRUE(done && done->exit_code == 0);
    }
};

TEST_F(MeshSurvival, BothAgentsDieDuringATransfer) {
    if (expected_tier() != "relay") {
        GTEST_SKIP() << "here the agents carry the bytes themselves, as the kernel has no TLS";
    }
    const auto transfer = peer_in_background("client", {"echo", address("api"), "FILE"});
    ASSERT_TRUE(transfer->goes_on());
    for (const auto* node : {"node-1", "node-2"}) {
        kill_agent(node);
    }
    EXPECT_TRUE(transfer->goes_on(100000));
    for (const auto* node : {"node-1", "node-2"}) {
        start_agent(node);
    }
    EXPECT_TRUE(transfer->goes_on(100000));
    ASSERT_TRUE(wait_enrolled(2));
    EXPECT_TRUE(eventually([] { return peer("client", {"mark", address("api"), "1000"}) == "ok 1000\n"; }, kPatience));
    for (const auto* node : {"node-1", "node-2"}) { // the new agents know what the old ones have made
        nlohmann::json shown;
        EXPECT_TRUE(eventually(
            [&] {
                shown = listed_connection(node);
                return shown.is_object() && std::stoull(shown.value("bytes_sent", "0")) > 200000;
            },
            kPatience))
            << node << ": " << shown.dump(1);
        ASSERT_TRUE(shown.is_object());
        EXPECT_EQ(shown.value("tier", ""), "relay");
        EXPECT_NE(shown.value("own_identity", ""), shown.value("peer_identity", ""));
        EXPECT_THAT(shown.value("cipher", ""), StartsWith("TLS_"));
        EXPECT_GT(shown.value("age_seconds", 0.0), 0);
    }
    EXPECT_THAT(transfer->stop(), StartsWith("ok "));
}

TEST_F(MeshSurvival, BothRelayChildrenDieDuringATransfer) {
    const auto transfer = peer_in_background("client", {"echo", address("api", true), "FILE"});
    ASSERT_TRUE(transfer->goes_on());
    for (int round = 0; round < 3; ++round) {
        const auto before = relay_children();
        ASSERT_EQ(before.size(), 2U);
        for (const auto child : before) {
            ASSERT_EQ(::kill(child, SIGKILL), 0);
        }
        EXPECT_TRUE(eventually(
            [&] {
                const auto now = relay_children();
                return now.size() == 2 && now[0] != before[0] && now[1] != before[1];
            },
            kPatience));
        EXPECT_TRUE(transfer->goes_on(100000)) << "round " << round;
    }
    EXPECT_THAT(transfer->stop(), StartsWith("ok "));
}

TEST_F(MeshSurvival, TheWireIsCutForAWhile) {
    const auto transfer = peer_in_background("client", {"echo", address("api"), "FILE"});
    ASSERT_TRUE(transfer->goes_on());
    wire("down");
    // Until the last bytes on their way are there: then nothing moves for as long as TCP tries again.
    auto last = transfer->progress();
    EXPECT_TRUE(eventually(
        [&] {
            (void)::poll(nullptr, 0, 500);
            return std::exchange(last, transfer->progress()) == last;
        },
        kPatience));
    wire("up");
    EXPECT_TRUE(transfer->goes_on(100000));
    EXPECT_THAT(transfer->stop(), StartsWith("ok "));
}

TEST_F(MeshSurvival, TheClockJumps) {
    if (!in_guest()) {
        GTEST_SKIP() << "the clock of this machine is not the test's to set";
    }
    const auto transfer = peer_in_background("client", {"echo", address("api"), "FILE"});
    const auto load = peer_in_background("client", {"requests", address("api"), "FILE"});
    ASSERT_TRUE(transfer->goes_on());
    const auto jump = [](std::int64_t hours) {
        timespec now{};
        (void)::clock_gettime(CLOCK_REALTIME, &now);
        now.tv_sec += hours * 3600;
        ASSERT_EQ(::clock_settime(CLOCK_REALTIME, &now), 0);
    };
    jump(6); // certificates live for 24 hours
    EXPECT_TRUE(transfer->goes_on(100000));
    EXPECT_TRUE(load->goes_on(3));
    jump(-6);
    EXPECT_TRUE(transfer->goes_on(100000));
    EXPECT_TRUE(load->goes_on(3));
    EXPECT_THAT(load->stop(), EndsWith(" 0 failed\n"));

    const auto mark = [] { return peer("client", {"mark", address("api"), "1000"}); };
    for (const int hours : {72, -72}) { // beyond the life of certificates, but not of what renews them
        jump(hours);
        EXPECT_TRUE(eventually([&] { return mark() == "ok 1000\n"; }, kPatience)) << hours;
    }
    jump(8 * 24); // beyond the life of the nodes' own, too, for which they would have to join again
    EXPECT_TRUE(eventually([] { return both_list("\"phase\":\"expired\""); }, kPatience));
    // Long enough for a node to tell its peers, had it a way back to plaintext.
    EXPECT_FALSE(eventually([&] { return mark() == "ok 1000\n"; }, 5));
    EXPECT_TRUE(transfer->goes_on(100000)) << "what stands was proven in its time";
    jump(-8 * 24);
    EXPECT_TRUE(eventually([&] { return mark() == "ok 1000\n"; }, kPatience));
    EXPECT_THAT(transfer->stop(), StartsWith("ok "));
}

} // namespace
} // namespace weft::e2e
