// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which flows does a client of GetFlows get, and does it learn of what it missed?
#include <gtest/gtest.h>

#include <ctime>
#include <utility>

#include "agent/admin/observer.hpp"
#include "agent/telemetry/enrich.hpp"
#include "tests/unit/admin/world.hpp"

namespace weft::admin {
namespace {

using namespace admin_test;

class Observer : public testing::Test {
protected:
    void add(int count) {
        for (int i = 0; i < count; ++i) {
            ring.append(
                telemetry::enrich(event(WEFT_EVENT_CONNECT, WEFT_EGRESS), {.desired = state.get(), .node_name = "a"}));
        }
    }
    // Sequence numbers of the flows that come; a loss is its negative count.
    std::vector<long long> ask(std::size_t stop_after = SIZE_MAX) {
        std::vector<long long> got;
        const auto done = stream_flows(
            ring, request, "a",
            [&](const observer::GetFlowsResponse& r) {
                got.push_back(r.has_lost_events() ? -static_cast<long long>(r.lost_events().num_events_lost())
                                                  : static_cast<long long>(r.flow().weft().sequence()));
                return got.size() < stop_after;
            },
            [&] { // asked once the old flows are sent, before each wait
                add(std::exchange(later, 0));
                return true;
            });
        EXPECT_TRUE(done.has_value());
        return got;
    }
    std::shared_ptr<const compiler::DesiredState> state = desired_state();
    telemetry::FlowRing ring{4};
    observer::GetFlowsRequest request;
    int later = 0; ///< flows that come while a client follows
};

using Numbers = std::vector<long long>;

TEST_F(Observer, SendsNewestOrOldest) {
    add(6);
    EXPECT_EQ(ask(), (Numbers{3, 4, 5, 6}));
    request.set_number(2);
    EXPECT_EQ(ask(), (Numbers{5, 6}));
    request.set_first(true);
    EXPECT_EQ(ask(), (Numbers{3, 4}));
}

TEST_F(Observer, SendsOnlyTheFieldsOfAMask) {
    add(1);
    const auto only = [&] {
        flow::Flow got;
        const auto done = stream_flows(
            ring, request, "a",
            [&](const observer::GetFlowsResponse& r) {
                EXPECT_EQ(r.node_name(), "a") << "the mask is of the flow";
                EXPECT_TRUE(r.has_time());
                got = r.flow();
                return true;
            },
            [] { return false; });
        EXPECT_TRUE(done.has_value());
        return got;
    };
    flow::Flow wanted;
    wanted.mutable_source()->set_pod_name("web-1");
    wanted.set_verdict(flow::FORWARDED);
    request.mutable_field_mask()->add_paths("source.pod_name");
    request.mutable_field_mask()->add_paths("verdict");
    request.mutable_field_mask()->add_paths("l7.http"); // Hubble has it, no flow of ours does
    EXPECT_EQ(only().SerializeAsString(), wanted.SerializeAsString());
    *request.mutable_experimental()->mutable_field_mask() = request.field_mask();
    request.clear_field_mask();
    EXPECT_EQ(only().SerializeAsString(), wanted.SerializeAsString());
    request.mutable_experimental()->mutable_field_mask()->clear_paths();
    EXPECT_TRUE(only().has_l4());
    request.mutable_field_mask()->add_paths("no_such_field");
    EXPECT_EQ(only().ByteSizeLong(), 0U);
}

TEST_F(Observer, FollowSkipsTheOldUnlessAsked) {
    add(2);
    request.set_follow(true);
    request.set_number(1);
    later = 1;
    EXPECT_EQ(ask(2), (Numbers{2, 3}));
    request.set_number(0);
    ring.close();
    EXPECT_EQ(ask(), Numbers{});
}

TEST_F(Observer, TellsAFollowerWhatTheKernelLost) {
    request.set_follow(true);
    std::vector<long long> got;
    bool first = true;
    const auto done = stream_flows(
        ring, request, "a",
        [&](const observer::GetFlowsResponse& r) {
            got.push_back(r.has_lost_events() ? -static_cast<long long>(r.lost_events().num_events_lost()) : 1);
            return got.size() < 3;
        },
        [&] {
            if (std::exchange(first, false)) { // between the first look and the wait: more than the ring holds
                ring.set_kernel_lost(9, 1);
                add(6);
            }
            return true;
        });
    ASSERT_TRUE(done.has_value());
    EXPECT_EQ(got, (Numbers{-2, -9, 1}));
}

TEST_F(Observer, TellsALossAtItsPlaceAmongOldFlows) {
    add(1);
    ring.set_kernel_lost(5, 1);
    add(2);
    EXPECT_EQ(ask(), (Numbers{1, -5, 2, 3}));
    request.set_number(2);
    EXPECT_EQ(ask(), (Numbers{2, 3})) << "it lies before what was asked for";
    request.set_first(true);
    EXPECT_EQ(ask(), (Numbers{1, -5, 2}));
    ring.set_kernel_lost(6, 2);
    request.set_number(0);
    EXPECT_EQ(ask(), (Numbers{1, -5, 2, 3, -1}));
    request.add_whitelist()->add_source_pod("no/body");
    EXPECT_EQ(ask(), (Numbers{-5, -1})) << "nothing matches, and nobody knows what was lost";
}

TEST_F(Observer, DeliveredAndLostMakeUpWhatHappened) {
    request.set_follow(true);
    std::uint64_t delivered = 0, lost = 0, produced = 0, kernel_lost = 0;
    int round = 0;
    const auto done = stream_flows(
        ring, request, "a",
        [&](const observer::GetFlowsResponse& r) {
            (r.has_lost_events() ? lost : delivered) += r.has_lost_events() ? r.lost_events().num_events_lost() : 1;
            return true;
        },
        [&] {
            if (++round > 12) {
                return false;
            }
            // More and more than the ring holds, and losses that the ring forgets before this client comes to them.
            for (int i = 0; i < round; ++i) {
                add(i % 3);
                kernel_lost += static_cast<std::uint64_t>(i);
                ring.set_kernel_lost(kernel_lost, i);
                produced += static_cast<std::uint64_t>(i % 3 + i);
            }
            return true;
        });
    ASSERT_TRUE(done.has_value());
    EXPECT_EQ(delivered + lost, produced);
    EXPECT_GT(delivered, 0u);
    EXPECT_GT(lost, kernel_lost) << "and some were overwritten";
}

TEST_F(Observer, UntilEndsAFollowingStream) {
    request.set_follow(true);
    request.mutable_until()->set_seconds(1000); // long ago
    later = 1;
    EXPECT_EQ(ask(), Numbers{});
}

TEST_F(Observer, RateIsThatOfTheLastMinute) {
    add(4); // of 1970
    EXPECT_EQ(flows_a_second(ring, std::chrono::hours(1)), 0);
    flow::Flow now;
    now.mutable_time()->set_seconds(std::time(nullptr));
    for (int i = 0; i < 3; ++i) {
        ring.append(flow::Flow(now));
    }
    EXPECT_NEAR(flows_a_second(ring, std::chrono::hours(1)), 3.0 / 60, 0.001);
    EXPECT_NEAR(flows_a_second(ring, std::chrono::seconds(6)), 0.5, 0.001) << "the agent is young";
}

TEST_F(Observer, RefusesFirstWithFollow) {
    request.set_first(true);
    request.set_follow(true);
    EXPECT_FALSE(stream_flows(ring, request, "a", [](const auto&) { return true; }, [] { return true; }).has_value());
}

} // namespace
} // namespace weft::admin
