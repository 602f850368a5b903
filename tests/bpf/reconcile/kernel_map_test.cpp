// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Do the kernel's maps behave as the reconciler expects: batches, full maps, absent entries, complete dumps?
#include <gtest/gtest.h>

#include <map>

#include "kernel_maps.hpp"

namespace weft::test {
namespace {

struct Kind {
    bpf_map_type type;
    const char* name;
};

class KernelMaps : public testing::TestWithParam<Kind> {
protected:
    // A trie's key begins with its prefix length; as plain numbers the keys serve both kinds.
    static weft_ports_key key(std::uint32_t n) { return {WEFT_PORTS_PREFIX + 16, n, 7, 6, 0, 0}; }
    static std::vector<weft_ports_key> keys(std::uint32_t count) {
        std::vector<weft_ports_key> all;
        for (std::uint32_t n = 0; n < count; ++n) {
            all.push_back(key(n));
        }
        return all;
    }
    std::shared_ptr<bpf::KernelMap> make(std::uint32_t entries) {
        return kernel_map(GetParam().type, "weft_test", sizeof(weft_ports_key), sizeof(std::uint64_t), entries);
    }
    using Map = bpf::TypedMap<weft_ports_key, std::uint64_t>;
};

TEST_P(KernelMaps, BatchesReachEveryEntryAndDumpsShowThem) {
    const auto io = make(20000);
    Map map(*io);
    const auto all = keys(10000);
    std::vector<std::uint64_t> values(all.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = i * 3;
    }
    const bpf::Batch written = map.update_batch(all, values);
    EXPECT_FALSE(written.error.has_value());
    EXPECT_EQ(written.done, all.size());
    std::map<std::uint32_t, std::uint64_t> seen;
    ASSERT_TRUE(
        map.for_each([&](const weft_ports_key& k, const std::uint64_t& v) { seen[k.ports_hi] = v; }).has_value());
    ASSERT_EQ(seen.size(), all.size());
    EXPECT_EQ(seen[9999], 29997u);

    const std::vector<weft_ports_key> half(all.begin() + 1000, all.begin() + 6000);
    const bpf::Batch removed = map.remove_batch(half);
    EXPECT_FALSE(removed.error.has_value());
    EXPECT_EQ(removed.done, half.size());
    EXPECT_EQ(map.remove_batch(all).done, all.size()) << "absent entries are no error";
    std::size_t left = 0;
    ASSERT_TRUE(map.for_each([&](const weft_ports_key&, const std::uint64_t&) { ++left; }).has_value());
    EXPECT_EQ(left, 0u);
}

TEST_P(KernelMaps, AFullMapSaysSoAndHowFarABatchCame) {
    const auto io = make(100);
    Map map(*io);
    const bpf::Batch written = map.update_batch(keys(150), std::vector<std::uint64_t>(150, 1));
    EXPECT_EQ(written.done, 100u);
    ASSERT_TRUE(written.error.has_value());
    EXPECT_EQ(written.error->code(), E2BIG);
    EXPECT_NE(written.error->message().find("weft_test is full (100 entries)"), std::string::npos);
    EXPECT_TRUE(map.update(key(5), 2).has_value()) << "an entry that is there can still change";
    EXPECT_EQ(map.update(key(500), 2).error().code(), E2BIG);
}

TEST_P(KernelMaps, LookupTellsAbsentFromPresent) {
    const auto io = make(10);
    Map map(*io);
    EXPECT_FALSE(map.lookup(key(1)).value().has_value());
    EXPECT_TRUE(map.remove(key(1)).has_value());
    ASSERT_TRUE(map.update(key(1), 42).has_value());
    EXPECT_EQ(map.lookup(key(1)).value(), 42u);
}

INSTANTIATE_TEST_SUITE_P(Types, KernelMaps,
                         testing::Values(Kind{BPF_MAP_TYPE_HASH, "Hash"}, Kind{BPF_MAP_TYPE_LPM_TRIE, "Trie"}),
                         [](const auto& kind) { return std::string(kind.param.name); });

TEST(KernelMap, ADescriptorThatIsNoMapIsRefused) {
    EXPECT_FALSE(bpf::KernelMap::open(UniqueFd(::dup(0))).has_value());
    EXPECT_EQ(bpf::KernelMap::open_pinned("/sys/fs/bpf/weft_no_such_pin").error().code(), ENOENT);
}

} // namespace
} // namespace weft::test
