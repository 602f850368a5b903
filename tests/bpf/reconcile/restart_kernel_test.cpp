// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The reconciler on real maps: a restart with a thousand Services writes nothing, damage is mended, a full map is
// reported.
#include <gtest/gtest.h>

#include "agent/reconcile/reconciler.hpp"
#include "kernel_maps.hpp"
#include "tests/unit/reconcile/states.hpp"

namespace weft::test {
namespace {

using reconcile::Reconciler;

compiler::DesiredState thousand_services() {
    std::vector<std::shared_ptr<const compiler::ServiceFragment>> all;
    for (int i = 0; i < 1000; ++i) {
        std::vector<std::string> backends;
        for (int b = 0; b < 10; ++b) {
            backends.push_back(fmt::format("10.{}.{}.{}", b, i / 250, i % 250));
        }
        all.push_back(service({fmt::format("s{}", i),
                               {fmt::format("10.96.{}.{}", i / 250, i % 250)},
                               backends,
                               IPPROTO_TCP,
                               i % 2 == 0,
                               i % 100 == 0}));
    }
    std::vector<std::pair<std::string, std::uint64_t>> peers;
    for (int i = 0; i < 5000; ++i) {
        peers.emplace_back(fmt::format("10.200.{}.{}", i / 250, i % 250), 1000 + static_cast<std::uint64_t>(i % 50));
    }
    return state(all, policy({{1, "10.0.0.1", {1000, 1001}}, {2, "10.0.0.2", {1002}}}, peers));
}

class RestartOnKernelMaps : public testing::Test {
protected:
    bpf::ConfigMaps maps = kernel_config_maps(65536);
};

TEST_F(RestartOnKernelMaps, TakesOverAThousandServicesWithoutAWrite) {
    Reconciler first;
    ASSERT_TRUE(first.bind(maps).has_value());
    const auto filled = first.apply(thousand_services());
    ASSERT_TRUE(filled.has_value());
    ASSERT_TRUE(filled->failures.empty());
    EXPECT_GT(filled->written, 21000u);

    Reconciler second;
    ASSERT_TRUE(second.bind(maps).has_value());
    const auto adopted = second.apply(thousand_services());
    ASSERT_TRUE(adopted.has_value());
    EXPECT_EQ(adopted->written + adopted->removed, 0u);
    EXPECT_GT(adopted->revision, filled->revision);
    EXPECT_EQ(second.repair().value().total(), 0u);
}

TEST_F(RestartOnKernelMaps, MendsDamage) {
    Reconciler reconciler;
    ASSERT_TRUE(reconciler.bind(maps).has_value());
    const auto desired = thousand_services();
    ASSERT_TRUE(reconciler.apply(desired).has_value());
    const auto& fragment = *desired.services.begin()->second;
    bpf::TypedMap<weft_slot_key, weft_slot> slots(*maps.slot);
    ASSERT_TRUE(slots.remove({fragment.set_id, 0, 0}).has_value());
    ASSERT_TRUE(slots.update({fragment.set_id, 1, 0}, {at("192.0.2.66", 1), 1}).has_value());
    ASSERT_TRUE(slots.update({4711, 0, 0}, {at("192.0.2.66", 1), 1}).has_value());
    bpf::TypedMap<weft_addr, weft_peer> ipcache(*maps.ipcache);
    ASSERT_TRUE(ipcache.update(addr("192.0.2.66"), {1000, 0, 0}).has_value());
    bpf::TypedMap<weft_ports_key, std::uint64_t> ports(*maps.ports);
    ASSERT_TRUE(ports.update({WEFT_PORTS_PREFIX, 1, 2, 6, 0, 0}, 1).has_value());
    const auto report = reconciler.repair();
    ASSERT_TRUE(report.has_value());
    EXPECT_EQ(report->maps.at("weft_slot").missing, 1u);
    EXPECT_EQ(report->maps.at("weft_slot").changed, 1u);
    EXPECT_EQ(report->maps.at("weft_slot").extra, 1u);
    EXPECT_EQ(report->maps.at("weft_ipcache").extra, 1u);
    EXPECT_EQ(report->maps.at("weft_ports").extra, 1u);
    EXPECT_EQ(report->total(), 5u);
    EXPECT_EQ(to_string(slots.lookup({fragment.set_id, 1, 0}).value()->backend), to_string(fragment.slots[1].backend));
    EXPECT_EQ(reconciler.repair().value().total(), 0u);
}

TEST(FullKernelMap, LeavesTheRestInForceAndNamesTheMap) {
    auto maps = kernel_config_maps(4096);
    maps.slot = kernel_map(BPF_MAP_TYPE_HASH, "weft_slot", sizeof(weft_slot_key), sizeof(weft_slot), 25);
    Reconciler reconciler;
    ASSERT_TRUE(reconciler.bind(maps).has_value());
    std::vector<std::shared_ptr<const compiler::ServiceFragment>> all;
    for (int i = 0; i < 4; ++i) {
        std::vector<std::string> backends;
        for (int b = 0; b < 10; ++b) {
            backends.push_back(fmt::format("10.{}.0.{}", i, b));
        }
        all.push_back(service({fmt::format("s{}", i), {fmt::format("10.96.0.{}", i)}, backends}));
    }
    const auto stats = reconciler.apply(state(all));
    ASSERT_TRUE(stats.has_value());
    EXPECT_EQ(stats->services_changed, 2u);
    ASSERT_EQ(stats->failures.size(), 2u);
    EXPECT_EQ(stats->failures[0].map, "weft_slot");
    EXPECT_EQ(stats->failures[0].error.code(), E2BIG);
    std::size_t slots = 0;
    ASSERT_TRUE(maps.slot->for_each([&](bpf::Bytes, bpf::Bytes) { ++slots; }).has_value());
    EXPECT_EQ(slots, 20u) << "nothing of a set that did not fit is left";
}

} // namespace
} // namespace weft::test
