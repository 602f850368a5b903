// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Do policies change without a moment in which an allowed peer is denied or a denied one allowed, and does what cannot
// be written fail closed?
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/reconcile/reconciler.hpp"
#include "states.hpp"

namespace weft::test {
namespace {

using reconcile::Reconciler;
using testing::IsEmpty;

constexpr std::uint64_t kAlice = 1001, kBob = 1002, kEve = 1003;
const std::vector<std::pair<std::string, std::uint64_t>> kPeers{
    {"10.0.1.1", kAlice}, {"10.0.1.2", kBob}, {"10.0.1.3", kEve}};

class Policies : public testing::Test {
protected:
    void SetUp() override { ASSERT_TRUE(reconciler.bind(kernel.maps).has_value()); }
    reconcile::ApplyStats apply(const std::shared_ptr<const compiler::PolicyImage>& image) {
        auto applied = reconciler.apply(state({}, image));
        EXPECT_TRUE(applied.has_value());
        return applied.value_or(reconcile::ApplyStats{});
    }

    FakeKernel kernel;
    int grace_periods = 0;
    Reconciler reconciler{[this] { ++grace_periods; }};
};

TEST_F(Policies, EveryStepAllowsWhatBothStatesAllowAndDeniesWhatBothDeny) {
    apply(policy({{1, "10.0.0.1", {kAlice, kEve}}}, kPeers));
    ASSERT_EQ(decide(kernel, 1, "10.0.1.1"), WEFT_VERDICT_ALLOW);
    ASSERT_EQ(decide(kernel, 1, "10.0.1.2"), WEFT_VERDICT_DENY);
    std::size_t steps = 0;
    kernel.watch.after = [&](const std::string& map) {
        ++steps;
        EXPECT_EQ(decide(kernel, 1, "10.0.1.1"), WEFT_VERDICT_ALLOW) << "write " << steps << " to " << map;
        EXPECT_EQ(decide(kernel, 1, "10.9.9.9"), WEFT_VERDICT_DENY) << "write " << steps << " to " << map;
    };
    apply(policy({{1, "10.0.0.1", {kAlice, kBob}}}, kPeers));
    EXPECT_GT(steps, 5u);
    EXPECT_EQ(decide(kernel, 1, "10.0.1.2"), WEFT_VERDICT_ALLOW);
    EXPECT_EQ(decide(kernel, 1, "10.0.1.3"), WEFT_VERDICT_DENY);
    EXPECT_EQ(FakeKernel::fake(kernel.maps.policy).entries.size(), 2u);
    EXPECT_EQ(FakeKernel::fake(kernel.maps.ports).entries.size(), 1u);
}

TEST_F(Policies, ANewWorkloadIsNeverSeenWithoutItsPolicy) {
    kernel.watch.after = [&](const std::string&) {
        const int verdict = decide(kernel, 1, "10.0.1.3");
        EXPECT_TRUE(verdict == -1 || verdict == WEFT_VERDICT_DENY);
        const int allowed = decide(kernel, 1, "10.0.1.1");
        EXPECT_TRUE(allowed == -1 || allowed == WEFT_VERDICT_ALLOW);
    };
    apply(policy({{1, "10.0.0.1", {kAlice}}}, kPeers));
    EXPECT_EQ(decide(kernel, 1, "10.0.1.1"), WEFT_VERDICT_ALLOW);
}

TEST_F(Policies, RulesGoAfterAGracePeriodAndTheRevisionAfterThem) {
    apply(policy({{1, "10.0.0.1", {kAlice}}}, kPeers));
    const std::uint64_t before = kernel.revision();
    EXPECT_NE(before, 0u);
    EXPECT_EQ(grace_periods, 0);
    bool rule_removed_early = false;
    std::string last;
    const std::size_t rules = FakeKernel::fake(kernel.maps.policy).entries.size();
    kernel.watch.after = [&](const std::string& map) {
        rule_removed_early |= grace_periods == 0 && FakeKernel::fake(kernel.maps.policy).entries.size() < rules;
        last = map;
    };
    apply(policy({{1, "10.0.0.1", {kBob}}}, kPeers));
    EXPECT_FALSE(rule_removed_early);
    EXPECT_EQ(grace_periods, 1);
    EXPECT_EQ(last, "weft_config");
    EXPECT_GT(kernel.revision(), before);
}

TEST_F(Policies, RevisionStaysWhenOnlyServicesChange) {
    const auto image = policy({{1, "10.0.0.1", {kAlice}}}, kPeers);
    apply(image);
    const std::uint64_t before = kernel.revision();
    ASSERT_TRUE(reconciler.apply(state({service({"a", {"10.96.0.1"}, {"10.0.0.1"}})}, image)).has_value());
    EXPECT_EQ(kernel.revision(), before);
}

TEST_F(Policies, ConfigFlagsAreWritten) {
    reconciler.set_config_flags(WEFT_CONFIG_ALLOW_UNKNOWN);
    apply(policy({}, {}));
    EXPECT_EQ((kernel.get<std::uint32_t, weft_config>(kernel.maps.config, 0)->flags), WEFT_CONFIG_ALLOW_UNKNOWN);
}

TEST_F(Policies, TracingChangesNoVerdict) {
    reconciler.set_config_flags(WEFT_CONFIG_ALLOW_UNKNOWN);
    const auto image = policy({}, {});
    apply(image);
    const std::uint64_t before = kernel.revision();
    for (const bool on : {true, false}) {
        ASSERT_TRUE(reconciler.set_tracing(on).has_value());
        apply(image);
        EXPECT_EQ((kernel.get<std::uint32_t, weft_config>(kernel.maps.config, 0)->flags),
                  on ? WEFT_CONFIG_ALLOW_UNKNOWN | WEFT_CONFIG_TRACE : WEFT_CONFIG_ALLOW_UNKNOWN);
        EXPECT_EQ(kernel.revision(), before);
    }
}

// A rule that cannot be written: the old workload keeps its old policy whole, the new one is isolated.
TEST_F(Policies, UnwritableRulesFailClosed) {
    for (const std::string full : {"weft_policy", "weft_ports"}) {
        FakeKernel small;
        Reconciler subject([] {});
        ASSERT_TRUE(subject.bind(small.maps).has_value());
        ASSERT_TRUE(subject.apply(state({}, policy({{1, "10.0.0.1", {kAlice}}}, kPeers))).has_value());
        small.watch.before = [&](const std::string& map) -> std::optional<Error> {
            return map == full ? std::optional(Error(E2BIG, "map " + map + " is full")) : std::nullopt;
        };
        const auto next = policy({{1, "10.0.0.1", {kAlice, kBob}}, {2, "10.0.0.2", {kBob}}}, kPeers);
        const auto stats = subject.apply(state({}, next));
        ASSERT_TRUE(stats.has_value());
        EXPECT_GE(stats->failures.size(), 2u);
        EXPECT_EQ(stats->failures[0].map, full);
        EXPECT_EQ(decide(small, 1, "10.0.1.1"), WEFT_VERDICT_ALLOW) << full;
        EXPECT_EQ(decide(small, 1, "10.0.1.2"), WEFT_VERDICT_DENY) << full;
        const auto isolated = small.get<std::uint64_t, weft_endpoint>(small.maps.endpoint, 2);
        ASSERT_TRUE(isolated.has_value());
        EXPECT_EQ(isolated->policy, 0u);
        EXPECT_EQ(isolated->flags & (WEFT_ENDPOINT_ISOLATED_INGRESS | WEFT_ENDPOINT_ISOLATED_EGRESS),
                  WEFT_ENDPOINT_ISOLATED_INGRESS | WEFT_ENDPOINT_ISOLATED_EGRESS);
        EXPECT_EQ(decide(small, 2, "10.0.1.2"), WEFT_VERDICT_DENY) << full;

        small.watch.before = nullptr; // there is room again: the same state is completed
        const auto retried = subject.apply(state({}, next));
        ASSERT_TRUE(retried.has_value());
        EXPECT_THAT(retried->failures, IsEmpty());
        EXPECT_EQ(decide(small, 1, "10.0.1.2"), WEFT_VERDICT_ALLOW) << full;
        EXPECT_EQ(decide(small, 2, "10.0.1.2"), WEFT_VERDICT_ALLOW) << full;
    }
}

TEST_F(Policies, AFaultAtAnyWriteNeverOpensWhatBothStatesClose) {
    const auto before = policy({{1, "10.0.0.1", {kAlice, kEve}}, {3, "10.0.0.3", {kBob}}}, kPeers);
    const auto after = policy({{1, "10.0.0.1", {kAlice, kBob}}, {2, "10.0.0.2", {kBob}}}, kPeers);
    FakeKernel ideal;
    Reconciler writer([] {});
    ASSERT_TRUE(writer.bind(ideal.maps).has_value());
    ASSERT_TRUE(writer.apply(state({}, after)).has_value());
    std::size_t faults = 0;
    for (std::size_t fault = 0;; ++fault) {
        FakeKernel faulty;
        Reconciler subject([] {});
        ASSERT_TRUE(subject.bind(faulty.maps).has_value());
        ASSERT_TRUE(subject.apply(state({}, before)).has_value());
        std::size_t write = 0;
        faulty.watch.before = [&](const std::string& map) -> std::optional<Error> {
            return write++ == fault ? std::optional(Error(ENOMEM, "injected into " + map)) : std::nullopt;
        };
        faulty.watch.after = [&](const std::string& map) {
            EXPECT_EQ(decide(faulty, 1, "10.0.1.1"), WEFT_VERDICT_ALLOW) << map << " fault " << fault;
            EXPECT_EQ(decide(faulty, 1, "10.9.9.9"), WEFT_VERDICT_DENY) << map << " fault " << fault;
            EXPECT_NE(decide(faulty, 2, "10.0.1.3"), WEFT_VERDICT_ALLOW) << map << " fault " << fault;
        };
        const auto applied = subject.apply(state({}, after));
        faulty.watch = {};
        if (write <= fault) {
            break;
        }
        ++faults;
        EXPECT_TRUE(!applied.has_value() || !applied->failures.empty()) << "fault " << fault << " went unreported";
        const auto retried = subject.apply(state({}, after));
        ASSERT_TRUE(retried.has_value());
        EXPECT_EQ(faulty.contents(), ideal.contents()) << "fault at write " << fault;
    }
    EXPECT_GT(faults, 10u);
}

} // namespace
} // namespace weft::test
