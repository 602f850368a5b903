// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What weft-relay costs, what it refuses, and what it may do: with plain connections, on any kernel.
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/net/ktls/pattern.hpp"
#include "tests/net/ktls/relay.hpp"

namespace weft::ktls {
namespace {

using test::Carried;
using test::End;
using test::Ending;
using test::kPatience;
using test::read_pattern;
using test::Relay;
using test::TcpPair;
using test::write_pattern;
using test::Writer;

constexpr std::uint64_t kMiB = 1 << 20;

TEST(RelayLimits, StalledReaderStopsTheWriterAndHoldsOnePipe) {
    Relay relay;
    const Carried c(relay);
    std::uint64_t written = 0;
    while (test::wait_for(c.app(), POLLOUT, std::chrono::milliseconds(500)) != 0 && written < 256 * kMiB) {
        const auto put = ::send(c.app(), std::string(65536, 'x').data(), 65536, MSG_DONTWAIT);
        written += put > 0 ? static_cast<std::uint64_t>(put) : 0;
    }
    EXPECT_LT(written, 64 * kMiB);
    EXPECT_LE(relay.info().pipes_used, 1U);
    // Killing whoever holds the pipe must not lose what is in it.
    relay.kill_child();
    std::uint64_t read = 0;
    char buffer[65536];
    while (read < written) {
        const auto got = ::recv(c.peer(), buffer, sizeof buffer, 0);
        ASSERT_GT(got, 0);
        read += static_cast<std::uint64_t>(got);
    }
    EXPECT_EQ(read, written);
    EXPECT_TRUE(test::eventually([&] { return relay.info().pipes_used == 0; })) << "an idle connection needs no pipe";
}

TEST(RelayLimits, WaitsForAPipeWhenAllAreInUse) {
    Relay relay("--pipes 2 --threads 1");
    std::vector<std::unique_ptr<Carried>> stalled;
    for (std::uint64_t id = 1; id <= 2; ++id) {
        stalled.push_back(std::make_unique<Carried>(relay, id));
        while (test::wait_for(stalled.back()->app(), POLLOUT, std::chrono::milliseconds(300)) != 0) {
            (void)::send(stalled.back()->app(), std::string(65536, 'x').data(), 65536, MSG_DONTWAIT);
        }
    }
    EXPECT_EQ(relay.info().pipes_used, 2U);
    const Carried third(relay, 3);
    Writer out(third.app(), 100000);
    EXPECT_EQ(test::wait_for(third.peer(), POLLIN, std::chrono::milliseconds(200)), 0) << "there is no pipe for it";
    stalled[0].reset(); // its pipe is free again, and empty
    const auto got = read_pattern(third.peer(), 0);
    EXPECT_TRUE(got.intact(100000)) << got.text();
}

TEST(RelayLimits, RefusesWhatItHasNoRoomFor) {
    Relay relay("--descriptors 200 --pipes 16 --threads 1"); // 20 connections
    const auto room = relay.info().room;
    ASSERT_EQ(room, 20U);
    std::vector<std::unique_ptr<Carried>> carried;
    for (std::uint64_t id = 1; id <= room; ++id) {
        carried.push_back(std::make_unique<Carried>(relay, id));
    }
    TcpPair front;
    TcpPair back;
    EXPECT_EQ(relay.carry(99, front.server, back.client, 0), WEFT_RELAY_NO_ROOM);
    EXPECT_TRUE(front.server.valid()) << "it stays with whoever wanted to hand it over";
    EXPECT_EQ(relay.info().refused, 1U);
    for (const auto& c : carried) {
        ASSERT_EQ(write_pattern(c->app(), 5000, {.ending = Ending::kNone}), 0);
        ASSERT_TRUE(read_pattern(c->peer(), 5000, {.until_end = false}).intact(5000)) << "old ones are not harmed";
    }
    carried.pop_back();
    EXPECT_TRUE(test::eventually([&] { return relay.info().connections < room; }));
    EXPECT_EQ(relay.carry(99, front.server, back.client, 0), WEFT_RELAY_OK);
}

// Kilobytes in RAM of a process and its children.
long resident_kb(pid_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/smaps_rollup");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("Pss:")) {
            return std::stol(line.substr(4));
        }
    }
    return -1;
}

TEST(RelayLimits, IdleConnectionsCostTwoDescriptorsAndLittleMemory) {
    // As many as the build machine's 20,000 descriptors must carry. This process needs two for each, too.
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    const std::uint64_t kConnections = files.rlim_cur >= 20000 ? 8000 : 400;
    Relay relay("--descriptors 20000");
    ASSERT_GE(relay.info().room, 8000U);
    const auto open_files = [&] {
        return std::distance(std::filesystem::directory_iterator("/proc/" + std::to_string(relay.pid()) + "/fd"), {});
    };
    const auto memory = [&] {
        return resident_kb(relay.pid()) + resident_kb(static_cast<pid_t>(relay.info().child_pid));
    };
    std::vector<std::unique_ptr<Carried>> carried;
    carried.push_back(std::make_unique<Carried>(relay, 1));
    const auto files_before = open_files();
    const auto memory_before = memory();
    for (std::uint64_t id = 2; id <= kConnections; ++id) {
        carried.push_back(std::make_unique<Carried>(relay, id));
    }
    // Each thread has made one pipe to look whether there is data.
    EXPECT_LE(open_files() - files_before, 2 * (static_cast<long>(kConnections) - 1) + 2 * 16);
    EXPECT_LT(memory() - memory_before, static_cast<long>(kConnections)) << "KiB";
    EXPECT_EQ(relay.info().pipes_used, 0U);
    EXPECT_LE(relay.info().pipes_made, 16U);
    // All of them are listed, in several answers, and each once.
    std::set<std::uint64_t> ids;
    std::uint32_t cursor = 0;
    do {
        ASSERT_TRUE(relay.client().list(cursor).has_value());
        const auto answer = relay.client().await(WEFT_RELAY_LIST, kPatience);
        ASSERT_TRUE(answer.has_value());
        for (const auto& entry : answer->entries) {
            EXPECT_TRUE(ids.insert(entry.id).second);
        }
        cursor = answer->head.cursor;
    } while (cursor != 0);
    EXPECT_EQ(ids.size(), kConnections);
    // A new child takes all of them up, and each works.
    relay.kill_child();
    for (const auto& c : carried) {
        ASSERT_EQ(::send(c->app(), "ping", 4, 0), 4);
    }
    for (const auto& c : carried) {
        char bytes[4];
        ASSERT_EQ(::recv(c->peer(), bytes, 4, MSG_WAITALL), 4);
    }
}

TEST(RelayLimits, HalfClosedAndStalledConnectionsDoNotSpin) {
    Relay relay;
    const Carried half(relay, 1);
    ASSERT_EQ(::shutdown(half.app(), SHUT_WR), 0);
    ASSERT_EQ(read_pattern(half.peer(), 0).end, End::kFin);
    const Carried stalled(relay, 2);
    while (test::wait_for(stalled.app(), POLLOUT, std::chrono::milliseconds(300)) != 0) {
        (void)::send(stalled.app(), std::string(65536, 'x').data(), 65536, MSG_DONTWAIT);
    }
    ASSERT_EQ(::shutdown(stalled.app(), SHUT_WR), 0);
    const auto child = static_cast<pid_t>(relay.info().child_pid);
    const double before = test::cpu_ms(child);
    (void)::poll(nullptr, 0, 1000); // nothing must happen meanwhile
    EXPECT_LE(test::cpu_ms(child) - before, 200);
}

// Numbers of a line of /proc/PID/status.
std::string status_of(pid_t pid, const std::string& name) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name + ":\t")) {
            return line.substr(name.size() + 2);
        }
    }
    return "";
}

TEST(RelayLimits, HoldsNoPrivileges) {
    Relay relay;
    const Carried c(relay); // a child that has begun to work is confined
    ASSERT_EQ(write_pattern(c.app(), 100), 0);
    ASSERT_TRUE(read_pattern(c.peer(), 0).intact(100));
    for (const auto pid : {relay.pid(), static_cast<pid_t>(relay.info().child_pid)}) {
        for (const auto* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
            EXPECT_EQ(status_of(pid, set), "0000000000000000") << set;
        }
        EXPECT_EQ(status_of(pid, "Seccomp"), "2");
        EXPECT_EQ(status_of(pid, "NoNewPrivs"), "1");
    }
}

TEST(RelayLimits, RefusesNonsense) {
    Relay relay;
    TcpPair front;
    TcpPair back;
    EXPECT_EQ(relay.carry(1, front.server, back.client, WEFT_RELAY_PEER_TLS), WEFT_RELAY_BAD_REQUEST)
        << "the peer's socket has no TLS";
    int pair[2];
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    UniqueFd one(pair[0]);
    UniqueFd two(pair[1]);
    EXPECT_EQ(relay.carry(1, one, two, 0), WEFT_RELAY_BAD_REQUEST);
    // Raw messages: too short, of another version, with an unknown op.
    for (const std::size_t size : {std::size_t{1}, sizeof(weft_relay_request) - 1, sizeof(weft_relay_request)}) {
        weft_relay_request request{};
        request.version = size == 1 ? 1 : 77;
        request.op = 99;
        ASSERT_EQ(::send(relay.client().fd(), &request, size, 0), static_cast<ssize_t>(size));
        EXPECT_TRUE(test::eventually([&] {
            auto answer = relay.client().receive();
            return answer.has_value() && answer->has_value() && (*answer)->head.status == WEFT_RELAY_BAD_REQUEST;
        }));
    }
    EXPECT_EQ(relay.info().connections, 0U);
    EXPECT_FALSE(RelayClient::connect(relay.path() + "-not").has_value());
}

TEST(RelayLimits, ManyShortConnections) {
    constexpr std::uint64_t kConnections = 2000;
    Relay relay;
    for (std::uint64_t id = 1; id <= kConnections; ++id) {
        TcpPair front(0, id % 2 == 0);
        TcpPair back(0, id % 2 == 0);
        ASSERT_EQ(relay.carry(id, front.server, back.client, 0), WEFT_RELAY_OK);
        ASSERT_EQ(write_pattern(front.client.get(), 500), 0);
        ASSERT_EQ(write_pattern(back.server.get(), 700), 0);
        ASSERT_TRUE(read_pattern(back.server.get(), 0).intact(500));
        ASSERT_TRUE(read_pattern(front.client.get(), 0).intact(700));
    }
    std::set<std::uint64_t> ended;
    ASSERT_TRUE(test::eventually([&] {
        auto message = relay.client().receive();
        if (message.has_value() && message->has_value()) {
            const auto& entry = (*message)->entries.at(0);
            EXPECT_EQ(entry.reason, WEFT_RELAY_REASON_FINISHED);
            EXPECT_EQ(entry.to_peer, 500U);
            EXPECT_EQ(entry.to_app, 700U);
            ended.insert(entry.id);
        }
        return ended.size() == kConnections || !message.has_value();
    }));
    EXPECT_EQ(ended.size(), kConnections);
    const auto info = relay.info();
    EXPECT_EQ(info.accepted, kConnections);
    EXPECT_EQ(info.connections, 0U);
    EXPECT_EQ(info.events_lost, 0U);
}

TEST(RelayLimits, RemembersTheNewestEventsForAnAgentThatIsAway) {
    Relay relay;
    // Watches, and never reads: what fits its socket is gone with it.
    auto away = RelayClient::connect(relay.path());
    ASSERT_TRUE(away.has_value() && away->watch().has_value() && away->await(WEFT_RELAY_WATCH, kPatience).has_value());
    {
        const auto gone = std::move(*away);
    }
    constexpr std::uint64_t kConnections = 4096 + 50;
    for (std::uint64_t id = 1; id <= kConnections; ++id) {
        TcpPair front;
        TcpPair back;
        ASSERT_EQ(relay.carry(id, front.server, back.client, 0), WEFT_RELAY_OK);
        test::reset_on_close(front.client.get());
    }
    ASSERT_TRUE(test::eventually([&] { return relay.info().connections == 0; }));
    EXPECT_EQ(relay.info().events_lost, 50U);
    ASSERT_TRUE(relay.client().watch().has_value());
    ASSERT_TRUE(relay.client().await(WEFT_RELAY_WATCH, kPatience).has_value());
    EXPECT_EQ(relay.event(kConnections).state, WEFT_RELAY_ENDED);
}

TEST(RelayLimits, TellsOfKeyLimits) {
    Relay relay;
    TcpPair front;
    TcpPair back;
    ASSERT_EQ(relay.carry(1, front.server, back.client, 0, kMiB), WEFT_RELAY_OK);
    Writer out(front.client.get(), 4 * kMiB);
    EXPECT_TRUE(read_pattern(back.server.get(), 0).intact(4 * kMiB));
    const auto event = relay.event(1);
    EXPECT_EQ(event.reason, WEFT_RELAY_REASON_KEY_LIMIT);
    EXPECT_EQ(event.state, WEFT_RELAY_CARRIED);
    TcpPair other_front;
    TcpPair other_back;
    ASSERT_EQ(relay.carry(2, other_front.server, other_back.client, WEFT_RELAY_LIMIT_CLOSE, kMiB), WEFT_RELAY_OK);
    Writer cut(other_front.client.get(), 4 * kMiB);
    EXPECT_EQ(read_pattern(other_back.server.get(), 0).end, End::kReset);
    EXPECT_EQ(relay.event(2).reason, WEFT_RELAY_REASON_KEY_LIMIT);
}

// A key bears so many records, whatever is in them: each message counts for WEFT_RELAY_LEAST_SPENT at least.
TEST(RelayLimits, SmallMessagesReachKeyLimits) {
    constexpr int kMessages = 100;
    for (const bool from_app : {true, false}) {
        Relay relay;
        TcpPair front;
        TcpPair back;
        ASSERT_EQ(relay.carry(1, front.server, back.client, 0, kMessages * WEFT_RELAY_LEAST_SPENT), WEFT_RELAY_OK);
        const int source = from_app ? front.client.get() : back.server.get();
        const int destination = from_app ? back.server.get() : front.client.get();
        char byte = 'x';
        for (int i = 0; i < kMessages; ++i) {
            const auto early = relay.client().receive();
            ASSERT_TRUE(early.has_value() && !early->has_value()) << "after " << i;
            ASSERT_EQ(::send(source, &byte, 1, 0), 1);
            ASSERT_EQ(::recv(destination, &byte, 1, 0), 1);
        }
        const auto event = relay.event(1);
        EXPECT_EQ(event.reason, WEFT_RELAY_REASON_KEY_LIMIT);
        EXPECT_EQ(event.detail, std::uint32_t{from_app ? WEFT_RELAY_NEW_SEND_KEY : WEFT_RELAY_NEW_RECEIVE_KEY});
    }
}

} // namespace
} // namespace weft::ktls
