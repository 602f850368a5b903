// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does a trace put together what belongs together, in the order in which it happened, and end when it should?
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ctime>

#include "agent/telemetry/trace.hpp"
#include "agent/telemetry/trace_event.hpp"
#include "tests/unit/admin/world.hpp"
#include "weft/abi/reasons.h"

namespace weft::telemetry {
namespace {

using admin_test::end;
using admin_test::event;
using admin_test::kApiNetns;
using admin_test::kWebNetns;
using testing::ElementsAre;
using namespace std::chrono_literals;

class TraceTest : public testing::Test {
protected:
    static std::int64_t now_ns() {
        timespec now{};
        (void)::clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1'000'000'000 + now.tv_nsec;
    }
    std::unique_ptr<Trace> open(TraceWish wish) {
        auto trace = tracer.open(wish);
        EXPECT_TRUE(trace.has_value());
        began = now_ns();
        return std::move(*trace);
    }
    void report(weft_event one, std::int64_t after_ns) {
        one.time_ns = static_cast<std::uint64_t>(began + after_ns);
        for (const auto& step : trace_steps(one, "", "")) {
            tracer.report(step);
        }
    }
    void report(const char* step, bool client, std::int64_t after_ns, bool gives_up = false) {
        TraceInput input;
        input.at_ns = began + after_ns;
        input.netns = client ? kWebNetns : kApiNetns;
        input.cookie = client ? 77 : 0; // of a server's connection the agent knows the ends only
        input.client = client;
        input.local = client ? end("10.0.0.1", 41022) : end("10.0.0.2", 8080);
        input.remote = client ? end("10.0.0.2", 8080) : end("10.0.0.1", 41022);
        input.step = step;
        input.by = "agent";
        input.begins = std::string_view(step) == "accepted";
        input.gives_up = gives_up;
        tracer.report(input);
    }
    /// Everything until the trace is complete, as "CONNECTION STEP" with "!" behind a last one. The kernel is read
    /// meanwhile, as weftd does.
    std::vector<std::string> all(Trace& trace) {
        std::vector<std::string> texts;
        const auto until = std::chrono::steady_clock::now() + 30s;
        while (!trace.complete() && std::chrono::steady_clock::now() < until) {
            tracer.kernel_read_until(now_ns());
            for (const auto& step : trace.wait(100ms)) {
                texts.push_back(std::to_string(step.connection) + " " + step.what.step + (step.last ? "!" : ""));
            }
        }
        return texts;
    }

    Tracer tracer;
    std::int64_t began = 0;
};

TEST_F(TraceTest, OrdersWhatKernelAndAgentTellOfAClient) {
    const auto trace = open({.netns = kWebNetns});
    report("accepted", true, 3'000);
    report("handshake-done", true, 5'000);
    report("ended", true, 9'000, true); // before the kernel's events are read
    auto connect = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    connect.duration_ns = 1'000;
    report(connect, 2'000);
    report(event(WEFT_EVENT_FIRST_BYTE, WEFT_EGRESS), 6'000);
    report(event(WEFT_EVENT_CLOSE, WEFT_EGRESS), 8'000);
    EXPECT_THAT(all(*trace), ElementsAre("1 connect", "1 established", "1 accepted", "1 handshake-done",
                                         "1 first-byte-sent", "1 closed", "1 ended!"));
}

TEST_F(TraceTest, WaitsForAKernelThatIsReadLate) {
    const auto trace = open({.netns = kApiNetns});
    tracer.kernel_read_until(began);
    report("accepted", false, 1'000);
    report("ended", false, 9'000, true);
    EXPECT_TRUE(trace->wait(1s).empty()) << "the agent is done, but what the kernel saw before is not read";
    report(event(WEFT_EVENT_ACCEPT, WEFT_INGRESS), 3'000);
    report(event(WEFT_EVENT_CLOSE, WEFT_INGRESS), 8'000);
    EXPECT_THAT(all(*trace), ElementsAre("1 accepted", "1 established", "1 closed", "1 ended!"));
}

TEST_F(TraceTest, LetsNothingOvertakeAnEndThatWaitsToBeTheLast) {
    const auto trace = open({.netns = kWebNetns});
    report("accepted", true, 3'000);
    report(event(WEFT_EVENT_CONNECT, WEFT_EGRESS), 2'000);
    report(event(WEFT_EVENT_CLOSE, WEFT_EGRESS), 8'000);
    report("relay-took", true, 9'000); // the agent hears of it late
    report("ended", true, 10'000, true);
    EXPECT_THAT(all(*trace),
                ElementsAre("1 connect", "1 established", "1 accepted", "1 closed", "1 relay-took", "1 ended!"));
}

TEST_F(TraceTest, JoinsAServersConnectionByItsEnds) {
    const auto trace = open({.netns = kApiNetns});
    report("accepted", false, 1'000);
    report("peer-proven", false, 2'000);
    report(event(WEFT_EVENT_ACCEPT, WEFT_INGRESS), 3'000);
    auto byte = event(WEFT_EVENT_FIRST_BYTE, WEFT_INGRESS);
    byte.local = byte.remote = {}; // as the kernel tells it
    report(byte, 4'000);
    report(event(WEFT_EVENT_CLOSE, WEFT_INGRESS), 5'000);
    report("ended", false, 5'500, true);
    EXPECT_THAT(all(*trace), ElementsAre("1 accepted", "1 peer-proven", "1 established", "1 first-byte-received",
                                         "1 closed", "1 ended!"));
}

TEST_F(TraceTest, EndsWithTheAgentsWordWhenTheKernelAnnouncedNothing) {
    const auto trace = open({.netns = kApiNetns});
    report("accepted", false, 1'000);
    report("failed", false, 2'000, true);
    EXPECT_THAT(all(*trace), ElementsAre("1 accepted", "1 failed!"));
}

TEST_F(TraceTest, TakesOnlyWhatWasWished) {
    const auto trace = open({.netns = kWebNetns, .port = 8080, .count = 2});
    report(event(WEFT_EVENT_CONNECT, WEFT_EGRESS), -60'000'000'000); // older than the trace
    report(event(WEFT_EVENT_ACCEPT, WEFT_INGRESS), 1'000);           // another pod's
    auto other_port = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    other_port.cookie = 78;
    other_port.remote.port = 9090;
    report(other_port, 1'000);
    auto udp = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    udp.cookie = 79;
    udp.local.proto = 17;
    report(udp, 1'000);
    EXPECT_EQ(trace->seen(), 0U);
    auto denied = event(WEFT_EVENT_DENIED, WEFT_EGRESS);
    denied.cookie = 80;
    denied.reason = WEFT_REASON_POLICY_DENIED;
    report(denied, 2'000);
    report(event(WEFT_EVENT_CONNECT, WEFT_EGRESS), 3'000);
    report(event(WEFT_EVENT_CLOSE, WEFT_EGRESS), 4'000);
    auto third = event(WEFT_EVENT_CONNECT, WEFT_EGRESS);
    third.cookie = 81;
    report(third, 5'000);
    EXPECT_THAT(all(*trace), testing::UnorderedElementsAre("1 denied!", "2 connect", "2 established", "2 closed!"));
}

TEST_F(TraceTest, ArmsForTheFirstAndDisarmsAfterTheLast) {
    std::vector<bool> armed;
    tracer.set_arm([&](bool on) -> Result<> {
        armed.push_back(on);
        return {};
    });
    EXPECT_FALSE(tracer.active());
    auto first = open({.netns = 1});
    auto second = open({.netns = 2});
    EXPECT_TRUE(tracer.active());
    first.reset();
    EXPECT_TRUE(tracer.active());
    second.reset();
    EXPECT_FALSE(tracer.active());
    EXPECT_THAT(armed, ElementsAre(true, false));
}

TEST_F(TraceTest, AreBounded) {
    std::vector<std::unique_ptr<Trace>> traces;
    for (auto next = tracer.open({.netns = 1}); next; next = tracer.open({.netns = 1})) {
        traces.push_back(std::move(*next));
        ASSERT_LE(traces.size(), 64U);
    }
    EXPECT_EQ(tracer.open({.netns = 1}).error().code(), EBUSY);
    began = now_ns();
    for (int i = 0; i < 10'000; ++i) {
        TraceInput input;
        input.at_ns = began;
        input.netns = 1;
        input.cookie = 5;
        input.begins = true;
        tracer.report(input);
    }
    EXPECT_GT(traces.front()->lost(), 0U);
    EXPECT_EQ(traces.front()->rest().size() + traces.front()->lost(), 10'000U);
}

} // namespace
} // namespace weft::telemetry
