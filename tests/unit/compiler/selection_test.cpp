// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Slots, Maglev tables and port prefixes: properties over many inputs.
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <map>
#include <random>

#include "agent/compiler/maglev.hpp"
#include "agent/compiler/port_ranges.hpp"
#include "agent/compiler/selection.hpp"
#include "weft/base/ip.hpp"

namespace weft::compiler {
namespace {

std::vector<Weighted> backends(const std::vector<std::uint32_t>& weights) {
    std::vector<Weighted> list;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const auto ip = Ip::v4(htonl(0x0a000001U + static_cast<std::uint32_t>(i)));
        list.push_back({make_addr_port(ip, 80, IPPROTO_TCP), weights[i]});
    }
    return list;
}

std::map<std::uint32_t, int> counts(const std::vector<weft_slot>& slots) {
    std::map<std::uint32_t, int> found;
    for (const auto& slot : slots) {
        ++found[ntohl(slot.backend.addr.word[3]) & 0xffff];
    }
    return found;
}

TEST(Selection, WeightsAreReducedAndSpread) {
    const auto slots = make_slots(backends({30, 10}), WEFT_ALGORITHM_ROUND_ROBIN);
    ASSERT_EQ(slots.size(), 4U);
    EXPECT_EQ(counts(slots), (std::map<std::uint32_t, int>{{1, 3}, {2, 1}}));
    EXPECT_NE(slots[0].backend.addr.word[3], 0U);
    // The light one stands neither first nor last: three heavy ones in a row never happen across the wrap.
    EXPECT_EQ(ntohl(slots[0].backend.addr.word[3]) & 0xff, 1U);
}

TEST(Selection, EqualWeightsNeedOneSlotEach) {
    EXPECT_EQ(make_slots(backends(std::vector<std::uint32_t>(100, 7)), WEFT_ALGORITHM_RANDOM).size(), 100U);
}

TEST(Selection, LargeWeightsFitAndNobodyIsLost) {
    std::vector<std::uint32_t> weights(4000, 1);
    weights[0] = 1000;
    weights[1] = 999;
    const auto slots = make_slots(backends(weights), WEFT_ALGORITHM_RANDOM);
    EXPECT_LE(slots.size(), static_cast<std::size_t>(WEFT_MAX_SLOTS));
    EXPECT_EQ(counts(slots).size(), 4000U);
}

TEST(Selection, OtherAlgorithmsKeepTheWeightInTheSlot) {
    const auto slots = make_slots(backends({3, 1}), WEFT_ALGORITHM_LEAST_CONNECTIONS);
    ASSERT_EQ(slots.size(), 2U);
    EXPECT_EQ(slots[0].weight, 3U);
}

TEST(Maglev, SharesFollowWeights) {
    const auto table = maglev_table(make_slots(backends({2, 1, 1}), WEFT_ALGORITHM_MAGLEV));
    std::map<int, int> share;
    for (const auto slot : table) {
        ++share[slot];
    }
    EXPECT_NEAR(share[0], WEFT_MAGLEV_SIZE / 2.0, 3);
    EXPECT_NEAR(share[1], WEFT_MAGLEV_SIZE / 4.0, 3);
}

TEST(Maglev, RemovingOneOfNMovesAtMostOneNthAndTwoPercent) {
    for (const std::size_t n : {2U, 3U, 5U, 10U, 50U, 100U}) {
        const auto all = backends(std::vector<std::uint32_t>(n, 1));
        const auto before = make_slots(all, WEFT_ALGORITHM_MAGLEV);
        const auto table_before = maglev_table(before);
        for (const std::size_t removed : {std::size_t{0}, n / 2, n - 1}) {
            auto rest = all;
            rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(removed));
            const auto after = make_slots(rest, WEFT_ALGORITHM_MAGLEV);
            const auto table_after = maglev_table(after);
            int moved = 0;
            for (std::size_t i = 0; i < table_before.size(); ++i) {
                moved += before[table_before[i]].backend.addr.word[3] != after[table_after[i]].backend.addr.word[3];
            }
            EXPECT_LE(moved, WEFT_MAGLEV_SIZE * (1.0 / static_cast<double>(n) + 0.02)) << n << " without " << removed;
        }
    }
}

TEST(PortPrefixes, CoverExactlyTheRange) {
    std::mt19937 random(7);
    for (int round = 0; round < 300; ++round) {
        std::uint32_t first = random() % 65536;
        std::uint32_t last = random() % 65536;
        if (first > last) {
            std::swap(first, last);
        }
        const auto prefixes = port_prefixes(static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(last));
        EXPECT_LE(prefixes.size(), 30U);
        std::uint32_t next = first;
        for (const auto& prefix : prefixes) {
            EXPECT_EQ(prefix.port, next);
            EXPECT_EQ(prefix.port & ((1U << (16 - prefix.bits)) - 1), 0U);
            next += 1U << (16 - prefix.bits);
        }
        EXPECT_EQ(next, last + 1);
    }
    EXPECT_EQ(port_prefixes(0, 65535), (std::vector<PortPrefix>{{0, 0}}));
    EXPECT_EQ(port_prefixes(80, 80), (std::vector<PortPrefix>{{80, 16}}));
}

} // namespace
} // namespace weft::compiler
