// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What weft-relay keeps for the next agent: sockets that nobody touches, and labels. With plain connections.
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/net/ktls/pattern.hpp"
#include "tests/net/ktls/relay.hpp"

namespace weft::ktls {
namespace {

using test::Carried;
using test::End;
using test::kPatience;
using test::read_pattern;
using test::Relay;
using test::TcpPair;
using test::write_pattern;

struct Listed {
    weft_relay_entry entry;
    std::string label;
};

std::vector<Listed> listed(RelayClient& client) {
    std::vector<Listed> all;
    std::uint32_t cursor = 0;
    do {
        EXPECT_TRUE(client.list(cursor).has_value());
        const auto answer = client.await(WEFT_RELAY_LIST, kPatience);
        if (!answer) {
            ADD_FAILURE() << answer.error().message();
            return all;
        }
        for (std::size_t i = 0; i < answer->entries.size(); ++i) {
            all.push_back({answer->entries[i], answer->labels[i]});
        }
        cursor = answer->head.cursor;
    } while (cursor != 0);
    return all;
}

UniqueFd fetched(RelayClient& client, std::uint64_t id) {
    EXPECT_TRUE(client.fetch(id).has_value());
    auto answer = client.await(WEFT_RELAY_FETCH, kPatience);
    return answer ? std::move(answer->peer) : UniqueFd();
}

TEST(RelayKeep, HoldsSocketsForTheNextAgentAlsoOverDeathsAndUpgrades) {
    Relay relay;
    TcpPair pair;
    auto agent = RelayClient::connect(relay.path());
    ASSERT_TRUE(agent.has_value());
    ASSERT_TRUE(agent->keep(3, pair.server.get(), "pod 17").has_value());
    pair.server.reset();
    {
        const auto gone = std::move(*agent);
    }
    relay.kill_child();
    ASSERT_TRUE(relay.client().upgrade().has_value());
    ASSERT_EQ(relay.client().await(WEFT_RELAY_UPGRADE, kPatience)->head.status, WEFT_RELAY_OK);
    const auto all = listed(relay.client());
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].entry.id, 3U);
    EXPECT_EQ(all[0].entry.state, WEFT_RELAY_KEPT);
    EXPECT_EQ(all[0].label, "pod 17");
    EXPECT_EQ(relay.info().kept, 1U);
    EXPECT_EQ(relay.info().connections, 0U);
    UniqueFd back = fetched(relay.client(), 3);
    ASSERT_TRUE(back.valid());
    ASSERT_EQ(write_pattern(back.get(), 1000), 0);
    EXPECT_TRUE(read_pattern(pair.client.get(), 0).intact(1000));
    EXPECT_EQ(relay.info().kept, 1U) << "fetching does not end it";
}

TEST(RelayKeep, DroppingClosesAndIsForgotten) {
    Relay relay;
    TcpPair pair;
    ASSERT_TRUE(relay.client().keep(3, pair.server.get(), "x").has_value());
    test::reset_on_close(pair.server.get());
    pair.server.reset();
    ASSERT_TRUE(relay.client().close(3).has_value());
    EXPECT_EQ(relay.client().await(WEFT_RELAY_CLOSE, kPatience)->head.status, WEFT_RELAY_OK);
    EXPECT_EQ(read_pattern(pair.client.get(), 0).end, End::kReset);
    EXPECT_EQ(relay.info().kept, 0U);
    EXPECT_FALSE(fetched(relay.client(), 3).valid());
    ASSERT_TRUE(relay.client().close(3).has_value());
    EXPECT_EQ(relay.client().await(WEFT_RELAY_CLOSE, kPatience)->head.status, WEFT_RELAY_UNKNOWN_ID);
}

TEST(RelayKeep, AHandOverOfTheSameIdTakesTheKeptOnesPlace) {
    Relay relay;
    TcpPair front;
    TcpPair back;
    ASSERT_TRUE(relay.client().keep(3, front.server.get(), "begins").has_value());
    ASSERT_TRUE(relay.client().hand_over(3, front.server.get(), back.client.get(), 0, 0, "carried").has_value());
    ASSERT_EQ(relay.client().await(WEFT_RELAY_HAND_OVER, kPatience)->head.status, WEFT_RELAY_OK);
    front.server.reset();
    back.client.reset();
    const auto all = listed(relay.client());
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].entry.state, WEFT_RELAY_CARRIED);
    EXPECT_EQ(all[0].label, "carried");
    EXPECT_EQ(relay.info().kept, 0U);
    EXPECT_FALSE(relay.client().keep(3, front.client.get(), "x") &&
                 relay.client().await(WEFT_RELAY_KEEP, kPatience)->head.status == WEFT_RELAY_OK)
        << "a carried connection is not kept as well";
    // No descriptor of the kept one is left: the end reaches the other side.
    ASSERT_EQ(write_pattern(front.client.get(), 5000), 0);
    EXPECT_TRUE(read_pattern(back.server.get(), 0).intact(5000));
    ASSERT_EQ(::shutdown(back.server.get(), SHUT_WR), 0);
    EXPECT_EQ(read_pattern(front.client.get(), 0).end, End::kFin);
    EXPECT_EQ(relay.event(3).reason, WEFT_RELAY_REASON_FINISHED);
}

TEST(RelayKeep, LabelsOfManyConnectionsComeInSeveralAnswers) {
    Relay relay;
    std::vector<TcpPair> pairs(100);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const std::string label(i * 6 + 3, static_cast<char>('a' + i % 26));
        ASSERT_TRUE(relay.client().keep(i + 1, pairs[i].server.get(), label).has_value());
    }
    const auto all = listed(relay.client());
    ASSERT_EQ(all.size(), pairs.size());
    for (const auto& one : all) {
        const auto i = one.entry.id - 1;
        EXPECT_EQ(one.label, std::string(i * 6 + 3, static_cast<char>('a' + i % 26)));
    }
}

TEST(RelayKeep, RefusesWhatItCannotKeep) {
    Relay relay("--descriptors 200 --pipes 16 --threads 1"); // 20 connections
    const auto files = [&] {
        return std::distance(std::filesystem::directory_iterator("/proc/" + std::to_string(relay.pid()) + "/fd"), {});
    };
    const auto before = files();
    const auto refused = [&](std::uint64_t id, int fd, const std::string& label) {
        EXPECT_TRUE(relay.client().keep(id, fd, label).has_value());
        const auto answer = relay.client().await(WEFT_RELAY_KEEP, kPatience);
        return answer ? answer->head.status : std::uint16_t{0};
    };
    EXPECT_EQ(refused(1, relay.client().fd(), "a unix socket"), WEFT_RELAY_BAD_REQUEST);
    TcpPair pair;
    EXPECT_EQ(refused(1, pair.server.get(), std::string(WEFT_RELAY_LABEL + 1, 'x')), WEFT_RELAY_BAD_REQUEST);
    EXPECT_EQ(files(), before);
    for (std::uint64_t id = 1; id <= 20; ++id) {
        ASSERT_TRUE(relay.client().keep(id, pair.server.get(), "x").has_value());
    }
    EXPECT_EQ(refused(21, pair.server.get(), "x"), WEFT_RELAY_NO_ROOM);
    ASSERT_TRUE(relay.client().keep(20, pair.client.get(), "replaced").has_value());
    EXPECT_EQ(relay.info().kept, 20U);
    EXPECT_EQ(files(), before + 20);
}

} // namespace
} // namespace weft::ktls
