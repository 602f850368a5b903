// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Denials by policy: their names, also of what is gone, and when they go.
#include "agent/telemetry/rule_drops.hpp"

#include <gtest/gtest.h>

#include "tests/unit/admin/world.hpp"

namespace weft::telemetry {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kOther = 0x4000000000000002, kGone = 0x4000000000000003;

bpf::RuleDrops drops(std::uint64_t policy, std::uint8_t direction, std::uint64_t count) {
    return {{policy, WEFT_REASON_POLICY_DENIED, direction, {}}, count};
}

/// The small cluster, with another class of the same policies.
compiler::DesiredState with_two_classes() {
    auto state = *admin_test::desired_state();
    auto names = std::make_shared<compiler::Names>(*state.names);
    names->policies[kOther] = {.selected_by = {"pay/allow-web"}};
    state.names = names;
    return state;
}

TEST(RuleDropsNames, ClassesOfTheSamePoliciesAreOneSeries) {
    RuleDropsNames names;
    const auto series =
        names.series(with_two_classes(), {drops(admin_test::kPolicy, WEFT_INGRESS, 3), drops(kOther, WEFT_INGRESS, 4),
                                          drops(kGone, WEFT_EGRESS, 1)});
    ASSERT_EQ(series.size(), 2U);
    EXPECT_EQ(series[0].direction, "egress");
    EXPECT_EQ(series[0].rule, "unknown");
    EXPECT_EQ(series[1].reason, "policy-denied");
    EXPECT_EQ(series[1].direction, "ingress");
    EXPECT_EQ(series[1].rule, "pay/allow-web");
    EXPECT_EQ(series[1].count, 7U);
}

TEST(RuleDropsNames, KeepNamesOfWhatIsGoneAsLongAsItIsCounted) {
    RuleDropsNames names;
    const auto all = std::vector{drops(kOther, WEFT_INGRESS, 4)};
    ASSERT_EQ(names.series(with_two_classes(), all)[0].rule, "pay/allow-web");
    EXPECT_EQ(names.series(*admin_test::desired_state(), all)[0].rule, "pay/allow-web");
    EXPECT_TRUE(names.series(*admin_test::desired_state(), {}).empty());
    EXPECT_EQ(names.series(*admin_test::desired_state(), all)[0].rule, "unknown");
}

TEST(RuleDropsKeeper, ForgetsAClassAWhileAfterItsLastWorkloadLeft) {
    RuleDropsKeeper keeper(60s);
    const auto state = admin_test::desired_state();
    const auto all = std::vector{drops(admin_test::kPolicy, WEFT_INGRESS, 3), drops(kGone, WEFT_EGRESS, 1)};
    const RuleDropsKeeper::Clock::time_point start{1000s};
    EXPECT_TRUE(keeper.due(*state, all, start).empty());
    EXPECT_TRUE(keeper.due(*state, all, start + 59s).empty());
    const auto due = keeper.due(*state, all, start + 60s);
    ASSERT_EQ(due.size(), 1U);
    EXPECT_EQ(due[0].policy, kGone);
    EXPECT_TRUE(keeper.due(*state, {drops(admin_test::kPolicy, WEFT_INGRESS, 3)}, start + 61s).empty());
    EXPECT_TRUE(keeper.due(*state, all, start + 62s).empty()) << "it came back, and begins anew";
}

} // namespace
} // namespace weft::telemetry
