// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which flows does a client of GetFlows get, and does it learn of what it missed?
#include <gtest/gtest.h>

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
                ring.set_kernel_lost(9);
                add(6);
            }
            return true;
        });
    ASSERT_TRUE(done.has_value());
    EXPECT_EQ(got, (Numbers{-2, -9, 1}));
}

TEST_F(Observer, RefusesFirstWithFollow) {
    request.set_first(true);
    request.set_follow(true);
    EXPECT_FALSE(stream_flows(ring, request, "a", [](const auto&) { return true; }, [] { return true; }).has_value());
}

} // namespace
} // namespace weft::admin
