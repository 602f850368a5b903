// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the kernel tells of a connection's life: payload each way while it lives, its first bytes to whoever traces, and
// at its end who ended it.
#include <algorithm>
#include <chrono>

#include "agent/bpf/conn_reader.hpp"
#include "tests/net/datapath/family.hpp"

namespace weft::test {
namespace {

using namespace std::chrono_literals;

class LifeTest : public DatapathTest {
protected:
    void SetUp() override {
        listener = serve_tcp(2, 8080);
        connect();
    }
    void connect() {
        client = client_socket(SOCK_STREAM, 20);
        ASSERT_EQ(connect_to(client.get(), family.dial(family.server(2), 8080)), 0);
        server.reset(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        ASSERT_TRUE(server.valid());
        const timeval limit{20, 0};
        (void)::setsockopt(server.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        SockAddr name;
        ASSERT_EQ(::getsockname(client.get(), name.get(), &name.size), 0);
        port = ntohs(reinterpret_cast<const sockaddr_in*>(name.get())->sin_port); // at the same place in both families
    }
    /// The client's socket, or the server's.
    weft_conn listed(bool of_client) {
        const auto all = bpf::read_connections(bpf_program__fd(world.bpf().progs.weft_conn_iter),
                                               bpf_map__fd(world.bpf().maps.weft_socket));
        EXPECT_TRUE(all.has_value()) << all.error().message();
        for (const auto& conn : *all) {
            const auto& own = of_client ? conn.local : conn.remote;
            if (own.port == port && (of_client ? conn.remote : conn.local).port == 8080) {
                return conn;
            }
        }
        return {};
    }
    /// As the kernel acknowledges in its own time.
    bool counts(bool of_client, std::uint64_t sent, std::uint64_t received) {
        const auto until = std::chrono::steady_clock::now() + 20s;
        weft_conn last{};
        while (std::chrono::steady_clock::now() < until) {
            last = listed(of_client);
            if (last.bytes_sent == sent && last.bytes_received == received) {
                return true;
            }
            (void)::poll(nullptr, 0, 10);
        }
        ADD_FAILURE() << (of_client ? "client" : "server") << " sent " << last.bytes_sent << ", received "
                      << last.bytes_received;
        return false;
    }
    std::vector<weft_event> events(std::uint8_t kind) {
        auto all = world.events();
        std::erase_if(all, [&](const weft_event& event) { return event.kind != kind; });
        return all;
    }
    /// The close events of both ends: the client's flags, then the server's.
    std::pair<unsigned, unsigned> endings() {
        const auto until = std::chrono::steady_clock::now() + 20s;
        std::vector<weft_event> closes;
        while ((closes = events(WEFT_EVENT_CLOSE)).size() < 2 && std::chrono::steady_clock::now() < until) {
            (void)::poll(nullptr, 0, 10);
        }
        EXPECT_EQ(closes.size(), 2U);
        std::pair<unsigned, unsigned> flags{~0U, ~0U};
        for (const auto& event : closes) {
            (event.direction == WEFT_EGRESS ? flags.first : flags.second) = event.flags;
        }
        return flags;
    }

    UniqueFd listener, client, server;
    std::uint16_t port = 0;
};

INSTANTIATE_TEST_SUITE_P(Families, LifeTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(LifeTest, ThePayloadOfALivingConnectionIsCounted) {
    EXPECT_TRUE(counts(true, 0, 0));
    EXPECT_TRUE(counts(false, 0, 0));
    ASSERT_EQ(send_text(client.get(), std::string(1000, 'x')), 0);
    ASSERT_EQ(send_text(server.get(), "12345"), 0);
    EXPECT_TRUE(counts(true, 1000, 5));
    EXPECT_TRUE(counts(false, 5, 1000));
    ASSERT_EQ(::shutdown(client.get(), SHUT_WR), 0); // a FIN is no payload
    EXPECT_TRUE(counts(true, 1000, 5));
    EXPECT_TRUE(counts(false, 5, 1000));
    ASSERT_EQ(send_text(server.get(), "678"), 0);
    EXPECT_TRUE(counts(true, 1000, 8));
    EXPECT_TRUE(counts(false, 8, 1000));
}

TEST_P(LifeTest, FirstBytesAreToldOnceEachWayWhileSomebodyTraces) {
    ASSERT_EQ(send_text(client.get(), "a"), 0);
    ASSERT_EQ(receive(server.get()).first, "a");
    EXPECT_TRUE(events(WEFT_EVENT_FIRST_BYTE).empty()) << "nobody traces";
    world.set_config_flags(WEFT_CONFIG_TRACE);
    connect();
    EXPECT_TRUE(events(WEFT_EVENT_FIRST_BYTE).empty()) << "a handshake of TCP has no payload";
    for (int round = 0; round < 3; ++round) {
        ASSERT_EQ(send_text(client.get(), "question"), 0);
        ASSERT_EQ(receive(server.get()).first, "question");
        ASSERT_EQ(send_text(server.get(), "answer"), 0);
        ASSERT_EQ(receive(client.get()).first, "answer");
    }
    const auto told = events(WEFT_EVENT_FIRST_BYTE);
    ASSERT_EQ(told.size(), 4U);
    for (const bool of_client : {true, false}) {
        const auto cookie = listed(of_client).cookie;
        std::vector<std::uint8_t> directions;
        for (const auto& event : told) {
            if (event.cookie == cookie) {
                directions.push_back(event.direction);
                EXPECT_EQ(event.netns, of_client ? world.client.cookie() : world.server.cookie());
            }
        }
        const std::vector<std::uint8_t> both{WEFT_EGRESS, WEFT_INGRESS};
        EXPECT_EQ(directions, of_client ? both : std::vector<std::uint8_t>(both.rbegin(), both.rend()));
    }
    world.set_config_flags(0);
    connect();
    ASSERT_EQ(send_text(client.get(), "b"), 0);
    ASSERT_EQ(receive(server.get()).first, "b");
    EXPECT_EQ(events(WEFT_EVENT_FIRST_BYTE).size(), 4U);
}

TEST_P(LifeTest, TheEndThatClosesFirstIsToldApart) {
    client.reset();
    ASSERT_EQ(receive(server.get()).first, "");
    server.reset();
    EXPECT_EQ(endings(), std::pair(WEFT_EVENT_LOCAL_END, 0U));
}

TEST_P(LifeTest, TheServerMayCloseFirst) {
    server.reset();
    ASSERT_EQ(receive(client.get()).first, "");
    client.reset();
    EXPECT_EQ(endings(), std::pair(0U, WEFT_EVENT_LOCAL_END));
}

TEST_P(LifeTest, AResetIsTheWorkOfWhoSentIt) {
    const linger now{1, 0};
    ASSERT_EQ(::setsockopt(server.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    server.reset();
    EXPECT_EQ(endings(), std::pair(WEFT_EVENT_RESET, WEFT_EVENT_RESET | WEFT_EVENT_LOCAL_END));
}

} // namespace
} // namespace weft::test
