// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The sorted map of shared chunks against std::map, and what two versions of it share.
#include "weft/base/sorted_map.hpp"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace weft {
namespace {

using Map = SortedMap<int, std::string>;
using Model = std::map<int, std::string>;

std::vector<std::pair<int, std::string>> entries(const auto& map) {
    return {map.begin(), map.end()};
}

/// Writes the same at random to both.
void scramble(Map& map, Model& model, std::mt19937& random, int rounds) {
    for (int round = 0; round < rounds; ++round) {
        const int key = static_cast<int>(random() % 500);
        if (random() % 3 == 0) {
            ASSERT_EQ(map.erase(key), model.erase(key));
        } else {
            const std::string value = std::to_string(random() % 4);
            map.insert_or_assign(key, value);
            model.insert_or_assign(key, value);
        }
    }
}

TEST(SortedMap, AnswersAsTheStandardMapDoes) {
    std::mt19937 random(7);
    Map map;
    Model model;
    for (int round = 0; round < 50; ++round) {
        scramble(map, model, random, 100);
        ASSERT_EQ(map.size(), model.size());
        ASSERT_EQ(entries(map), entries(model));
        for (int key = -1; key <= 500; ++key) {
            const auto found = map.find(key);
            const auto expected = model.find(key);
            ASSERT_EQ(found == map.end(), expected == model.end()) << key;
            ASSERT_TRUE(found == map.end() || found->second == expected->second) << key;
            const auto bound = map.lower_bound(key);
            const auto expected_bound = model.lower_bound(key);
            ASSERT_EQ(bound == map.end(), expected_bound == model.end()) << key;
            ASSERT_TRUE(bound == map.end() || bound->first == expected_bound->first) << key;
        }
    }
}

TEST(SortedMap, ACopyKeepsItsContentWhileTheOriginalIsWritten) {
    std::mt19937 random(8);
    Map map;
    Model model;
    scramble(map, model, random, 1000);
    const Map copy = map;
    const Model as_it_was = model;
    EXPECT_TRUE(copy == map);
    scramble(map, model, random, 1000);
    EXPECT_EQ(entries(copy), entries(as_it_was));
    EXPECT_EQ(entries(map), entries(model));
    EXPECT_FALSE(copy == map);
}

TEST(SortedMap, ChangesBetweenTwoVersionsAreExact) {
    std::mt19937 random(9);
    for (int round = 0; round < 100; ++round) {
        Map before;
        Model before_model;
        scramble(before, before_model, random, 800);
        Map after = before;
        Model after_model = before_model;
        scramble(after, after_model, random, round);
        Model replayed = before_model;
        int last = -1;
        Map::for_each_change(before, after, [&](int key, const std::string* old_value, const std::string* new_value) {
            EXPECT_GT(key, last);
            last = key;
            const auto known = replayed.find(key);
            ASSERT_EQ(old_value != nullptr, known != replayed.end());
            ASSERT_TRUE(old_value == nullptr || *old_value == known->second);
            ASSERT_TRUE(new_value == nullptr || old_value == nullptr || *new_value != *old_value);
            if (new_value != nullptr) {
                replayed[key] = *new_value;
            } else {
                replayed.erase(key);
            }
        });
        EXPECT_EQ(replayed, after_model);
        EXPECT_EQ(before == after, before_model == after_model);
    }
}

/// Counts its comparisons.
struct Counted {
    int value = 0;
    static inline int comparisons = 0;
    friend bool operator==(const Counted& a, const Counted& b) {
        ++comparisons;
        return a.value == b.value;
    }
};

TEST(SortedMap, WhatTwoVersionsShareIsNotCompared) {
    SortedMap<int, Counted> before;
    for (int key = 0; key < 100'000; ++key) {
        before.insert_or_assign(key, {key});
    }
    auto after = before;
    after.insert_or_assign(50'000, {-1});
    after.erase(70'000);
    Counted::comparisons = 0;
    int changes = 0;
    SortedMap<int, Counted>::for_each_change(before, after, [&](int, const Counted*, const Counted*) { ++changes; });
    EXPECT_EQ(changes, 2);
    EXPECT_LT(Counted::comparisons, 200);
}

TEST(SortedMap, EmptyAgain) {
    Map map{{1, "a"}, {2, "b"}, {1, "c"}};
    EXPECT_EQ(map.size(), 2U);
    EXPECT_EQ(map.find(1)->second, "c");
    EXPECT_EQ(map.erase(1) + map.erase(2) + map.erase(2), 2U);
    EXPECT_TRUE(map.empty());
    EXPECT_EQ(map.begin(), map.end());
    EXPECT_TRUE(map == Map{});
}

} // namespace
} // namespace weft
