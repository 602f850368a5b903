// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does a new agent take over what the old one left, writing only differences, and is damage found and mended?
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/reconcile/reconciler.hpp"
#include "agent/reconcile/sizes.hpp"
#include "states.hpp"

namespace weft::test {
namespace {

using reconcile::Reconciler;
using testing::IsEmpty;
using testing::SizeIs;
using Backends = std::set<std::string>;

compiler::DesiredState whole() {
    auto image = std::make_shared<compiler::PolicyImage>(*policy({{1, "10.0.0.1", {1001}}}, {{"10.0.1.1", 1001}}));
    image->cidrs[{104, addr("10.0.0.0")}] = {2000, 0, 0};
    image->node_addresses[addr("192.0.2.1")] = 1;
    image->tls_ports[make_addr_port(Ip(addr("192.0.2.2")), 8080, 6)] = 3;
    return state({service({"a", {"10.96.0.1"}, {"10.0.0.1", "10.0.0.2"}, IPPROTO_TCP, true, true}),
                  service({"dns", {"10.96.0.10"}, {"10.0.0.3", "10.0.0.4"}, IPPROTO_UDP, true})},
                 image);
}

class Restart : public testing::Test {
protected:
    void SetUp() override {
        Reconciler first([] {});
        ASSERT_TRUE(first.bind(kernel.maps).has_value());
        ASSERT_TRUE(first.apply(whole()).has_value());
        ASSERT_TRUE(second.bind(kernel.maps).has_value());
    }
    FakeKernel kernel;
    Reconciler second{[] {}};
};

TEST_F(Restart, WritesNothingButTheRevisionWhenNothingChanged) {
    const auto before = kernel.contents();
    const std::uint64_t revision = kernel.revision();
    const std::size_t writes = kernel.watch.writes;
    const auto stats = second.apply(whole());
    ASSERT_TRUE(stats.has_value());
    EXPECT_THAT(stats->failures, IsEmpty());
    EXPECT_EQ(stats->written + stats->removed, 0u);
    EXPECT_EQ(kernel.watch.writes, writes + 1);
    EXPECT_GT(kernel.revision(), revision);
    EXPECT_EQ(kernel.contents(), before);
}

TEST_F(Restart, RemovesWhatWentAwayMeanwhile) {
    const auto now = state({service({"a", {"10.96.0.1"}, {"10.0.0.2"}, IPPROTO_TCP, true}),
                            service({"dns", {"10.96.0.10"}, {"10.0.0.4"}, IPPROTO_UDP, true})});
    kernel.watch.after = [&](const std::string&) {
        EXPECT_THAT(resolve(kernel, at("10.96.0.1", 80), true),
                    testing::AnyOf(Backends{"10.0.0.1", "10.0.0.2"}, Backends{"10.0.0.2"}));
    };
    const auto stats = second.apply(now);
    ASSERT_TRUE(stats.has_value());
    ASSERT_THAT(stats->removed_udp_backends, SizeIs(1));
    EXPECT_EQ(to_string(stats->removed_udp_backends[0].backend), "UDP 10.0.0.3:8080");
    FakeKernel ideal;
    Reconciler writer([] {});
    ASSERT_TRUE(writer.bind(ideal.maps).has_value());
    ASSERT_TRUE(writer.apply(now).has_value());
    EXPECT_EQ(kernel.contents(), ideal.contents());
}

TEST_F(Restart, AServiceThatCannotBeUpdatedKeepsWhatThePreviousAgentWrote) {
    kernel.watch.before = [](const std::string& map) -> std::optional<Error> {
        return map == "weft_slot" ? std::optional(Error(E2BIG, "full")) : std::nullopt;
    };
    auto now = whole();
    const auto wider = service({"a", {"10.96.0.1"}, {"10.0.0.7"}, IPPROTO_TCP, true, true});
    now.services.insert_or_assign(wider->service_id, wider);
    const auto stats = second.apply(now);
    ASSERT_TRUE(stats.has_value());
    EXPECT_THAT(stats->failures, SizeIs(1));
    EXPECT_EQ(resolve(kernel, at("10.96.0.1", 80), true), (Backends{"10.0.0.1", "10.0.0.2"}));
    const auto drift = second.repair();
    ASSERT_TRUE(drift.has_value());
    EXPECT_EQ(drift->total(), 0u) << "what is kept for a failed Service is no drift";
    kernel.watch.before = nullptr;
    ASSERT_TRUE(second.apply(now).has_value());
    EXPECT_EQ(resolve(kernel, at("10.96.0.1", 80), true), (Backends{"10.0.0.7"}));
    EXPECT_EQ(FakeKernel::fake(kernel.maps.slot).entries.size(), 3u);
}

TEST_F(Restart, WrongContentLeftBehindIsOverwritten) {
    auto& slots = FakeKernel::fake(kernel.maps.slot).entries;
    const auto before = kernel.contents();
    slots.begin()->second[3] = static_cast<char>(slots.begin()->second[3] ^ 1);
    slots["nonsense-key-16b"] = slots.begin()->second;
    Reconciler third([] {});
    ASSERT_TRUE(third.bind(kernel.maps).has_value());
    ASSERT_TRUE(third.apply(whole()).has_value());
    EXPECT_EQ(kernel.contents(), before);
}

TEST_F(Restart, DamageOfEveryKindInEveryMapIsCountedAndMended) {
    ASSERT_TRUE(second.apply(whole()).has_value());
    const auto before = kernel.contents();
    ASSERT_EQ(second.repair().value().total(), 0u);
    for (const auto& field : bpf::kConfigMaps) {
        if (field.size == nullptr) {
            continue;
        }
        const std::string name(field.name);
        auto& entries = FakeKernel::fake(kernel.maps.*field.map).entries;
        ASSERT_FALSE(entries.empty()) << name;
        const auto first = *entries.begin();
        const auto expect = [&](const char* what, std::size_t missing, std::size_t changed, std::size_t extra) {
            const std::uint64_t revision = kernel.revision();
            const auto report = second.repair();
            ASSERT_TRUE(report.has_value());
            ASSERT_THAT(report->maps, SizeIs(1)) << name << " " << what;
            const auto& drift = report->maps.at(name);
            EXPECT_EQ(drift.missing, missing) << name << " " << what;
            EXPECT_EQ(drift.changed, changed) << name << " " << what;
            EXPECT_EQ(drift.extra, extra) << name << " " << what;
            EXPECT_EQ(kernel.contents(), before) << name << " " << what;
            EXPECT_EQ(second.repair().value().total(), 0u) << name << " " << what;
            const bool policy =
                name != "weft_service" && name != "weft_slot" && name != "weft_maglev" && name != "weft_member";
            EXPECT_EQ(kernel.revision() > revision, policy) << name << " " << what;
        };
        entries.erase(first.first);
        expect("missing", 1, 0, 0);
        entries.begin()->second.back() = static_cast<char>(entries.begin()->second.back() ^ 0x5a);
        expect("changed", 0, 1, 0);
        std::string other = first.first;
        other[0] = static_cast<char>(other[0] ^ 0x77);
        entries[other] = first.second;
        expect("extra", 0, 0, 1);
    }
}

TEST_F(Restart, AChangedRevisionIsDriftToo) {
    ASSERT_TRUE(second.apply(whole()).has_value());
    kernel.reset_config();
    const auto report = second.repair();
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->maps.at("weft_config").changed, 1u);
    EXPECT_NE(kernel.revision(), 0u);
}

TEST(Unbound, ApplyAndRepairSaySo) {
    Reconciler reconciler;
    EXPECT_EQ(reconciler.apply({}).error().code(), EINVAL);
    EXPECT_EQ(reconciler.repair().error().code(), EINVAL);
}

TEST(Sizes, CountSharedSetsOnceAndLeaveRoomForAChange) {
    const auto sizes = reconcile::wanted_sizes(whole());
    EXPECT_EQ(sizes.service, 2u);
    EXPECT_EQ(sizes.slot, 4u);
    EXPECT_EQ(sizes.member, 4u);
    EXPECT_EQ(sizes.maglev, static_cast<std::uint32_t>(WEFT_MAGLEV_CHUNKS));
    EXPECT_EQ(sizes.endpoint, 1u);
    EXPECT_EQ(sizes.cidr, 1u);
    const auto shared =
        state({service({"x", {"10.96.1.1"}, {"10.0.0.1"}}), service({"y", {"10.96.1.2"}, {"10.0.0.1"}})});
    EXPECT_EQ(reconcile::wanted_sizes(shared).slot, 1u);
    reconcile::SizeCounter counter;
    for (const auto& next : {whole(), shared, whole(), state({}), shared}) {
        EXPECT_EQ(counter.count(next), reconcile::wanted_sizes(next));
    }
    EXPECT_EQ(bpf::capacity_for(0, 1024), 1024u);
    EXPECT_EQ(bpf::capacity_for(513, 1024), 2048u);
    EXPECT_EQ(bpf::capacity_for(100000, 4096), 262144u);
    FakeKernel kernel(4);
    bpf::MapSizes three;
    three.slot = 3;
    EXPECT_TRUE(bpf::fits(three, kernel.maps));
    three.slot = 4;
    EXPECT_FALSE(bpf::fits(three, kernel.maps));
}

} // namespace
} // namespace weft::test
