// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Handshakes between two honest ends: what they agree on, and where they stop reading.
#include "weft/ktls/handshake.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/ktls/pki.hpp"
#include "tests/net/ktls/streams.hpp"

namespace weft::ktls {
namespace {

using test::Authority;
using test::leaf_of;
using test::secure;

int unread(int fd) {
    int bytes = -1;
    EXPECT_EQ(::ioctl(fd, FIONREAD, &bytes), 0);
    return bytes;
}

TEST(Handshake, BothEndsAgree) {
    const Authority ca(true);
    auto pair = secure(ca.context(leaf_of("web")), ca.context(leaf_of("db")));
    const auto& client = pair.client->established();
    const auto& server = pair.server->established();
    EXPECT_EQ(client.peer.id.to_string(), "spiffe://cluster.local/ns/shop/sa/db");
    EXPECT_EQ(server.peer.id.to_string(), "spiffe://cluster.local/ns/shop/sa/web");
    EXPECT_GT(client.peer.not_after, std::time(nullptr));
    EXPECT_FALSE(client.resumed);
    EXPECT_FALSE(client.left_over);
    EXPECT_FALSE(server.left_over);
    EXPECT_EQ(client.traffic.cipher, server.traffic.cipher);
    EXPECT_EQ(client.traffic.cipher, preferred_ciphers()[0]);
    EXPECT_THAT(client.group, ::testing::AnyOf("x25519", "X25519MLKEM768"));
    const auto same = [](const TrafficSecret& a, const TrafficSecret& b) {
        return a.size() >= 32 && std::ranges::equal(a.view(), b.view());
    };
    EXPECT_TRUE(same(client.traffic.send.secret, server.traffic.receive.secret));
    EXPECT_TRUE(same(client.traffic.receive.secret, server.traffic.send.secret));
    EXPECT_FALSE(same(client.traffic.send.secret, client.traffic.receive.secret));
}

TEST(Handshake, TicketIsCountedAndNothingIsLeftOver) {
    const Authority ca;
    auto pair = secure(ca.context(), ca.context());
    EXPECT_EQ(pair.server->established().traffic.send.sequence, 1U) << "weft/1 sends exactly one ticket";
    EXPECT_EQ(pair.client->established().traffic.receive.sequence, 1U);
    EXPECT_EQ(pair.client->established().traffic.send.sequence, 0U);
    EXPECT_EQ(pair.server->established().traffic.receive.sequence, 0U);
    EXPECT_EQ(unread(pair.sockets.client.get()), 0);
    EXPECT_EQ(unread(pair.sockets.server.get()), 0);
}

// A server that speaks first may have sent data behind its ticket before the client looks: the data must stay in the
// socket, for the kernel to decrypt.
TEST(Handshake, StopsReadingAfterTheTicket) {
    const Authority ca;
    const auto context = ca.context();
    const test::TcpPair sockets;
    auto client = *Handshake::client(context, sockets.client.get(), {test::anybody, {}, {}});
    auto server = *Handshake::server(context, sockets.server.get(), {test::anybody});
    ASSERT_EQ(client.step(), Step::kWantRead);
    ASSERT_NE(test::wait_for(sockets.server.get(), POLLIN), 0);
    ASSERT_EQ(server.step(), Step::kWantRead);
    ASSERT_NE(test::wait_for(sockets.client.get(), POLLIN), 0);
    ASSERT_EQ(client.step(), Step::kWantRead);
    ASSERT_NE(test::wait_for(sockets.server.get(), POLLIN), 0);
    ASSERT_EQ(server.step(), Step::kDone);
    ASSERT_NE(test::wait_for(sockets.client.get(), POLLIN), 0);
    const int ticket = unread(sockets.client.get());
    ASSERT_GT(ticket, 0);
    const auto ssl = server.release();
    ASSERT_EQ(SSL_write(ssl.get(), "hello", 5), 5);
    ASSERT_TRUE(test::eventually([&] { return unread(sockets.client.get()) == ticket + 5 + 5 + 1 + 16; }));
    ASSERT_EQ(client.step(), Step::kDone);
    EXPECT_FALSE(client.established().left_over);
    EXPECT_EQ(client.established().traffic.receive.sequence, 1U);
    EXPECT_EQ(unread(sockets.client.get()), 5 + 5 + 1 + 16) << "the record with the data: header, type, tag";
}

TEST(Handshake, LeavesDescriptorsAsTheyWere) {
    const Authority ca;
    const auto pair = secure(ca.context(), ca.context());
    EXPECT_EQ(::fcntl(pair.sockets.client.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST(Handshake, EveryCipherWorks) {
    const Authority ca;
    for (const auto cipher : preferred_ciphers()) {
        ContextOptions only;
        only.ciphers = {cipher};
        auto pair = secure(ca.context({}, only), ca.context());
        EXPECT_EQ(pair.client->established().traffic.cipher, cipher);
        EXPECT_EQ(pair.server->established().traffic.cipher, cipher);
    }
}

TEST(Handshake, RekeyIsAgreedOnlyByBoth) {
    const Authority ca;
    ContextOptions able;
    able.rekey = true;
    for (const bool client : {false, true}) {
        for (const bool server : {false, true}) {
            const auto pair = secure(ca.context({}, client ? able : ContextOptions{}),
                                     ca.context({}, server ? able : ContextOptions{}));
            EXPECT_EQ(pair.client->established().rekey, client && server);
            EXPECT_EQ(pair.server->established().rekey, client && server);
        }
    }
}

TEST(Handshake, SecondConnectionResumes) {
    const Authority ca(true);
    const auto client = ca.context(leaf_of("web"));
    const auto server = ca.context(leaf_of("db"));
    for (int i = 0; i < 4; ++i) {
        const auto pair = secure(client, server, "db");
        EXPECT_EQ(pair.client->established().resumed, i > 0) << i;
        EXPECT_EQ(pair.server->established().resumed, i > 0) << i;
        EXPECT_EQ(pair.server->established().peer.id.service_account, "web");
        EXPECT_EQ(pair.client->established().peer.id.service_account, "db");
        EXPECT_EQ(pair.server->established().traffic.send.sequence, 1U) << "a resumed one gets a ticket, too";
        EXPECT_EQ(pair.client->established().traffic.receive.sequence, 1U);
    }
    EXPECT_FALSE(secure(client, server, "another").client->established().resumed);
    EXPECT_EQ(client->session_count(), 2U);
}

TEST(Handshake, NewIdentityOfTheServerEndsResumption) {
    const Authority ca;
    const auto client = ca.context(leaf_of("web"));
    (void)secure(client, ca.context(leaf_of("db")), "db");
    const auto renewed = ca.context(leaf_of("db"));
    EXPECT_FALSE(secure(client, renewed, "db").client->established().resumed);
    EXPECT_TRUE(secure(client, renewed, "db").client->established().resumed);
}

TEST(Handshake, ForgottenSessionsAreNotResumed) {
    const Authority ca;
    const auto client = ca.context(leaf_of("web"));
    const auto server = ca.context(leaf_of("db"));
    (void)secure(client, server, "db");
    EXPECT_EQ(server->given_session_count(), 1U);
    server->forget_sessions();
    EXPECT_EQ(server->given_session_count(), 0U);
    EXPECT_FALSE(secure(client, server, "db").client->established().resumed);
    client->forget_sessions();
    EXPECT_EQ(client->session_count(), 0U);
    EXPECT_FALSE(secure(client, server, "db").client->established().resumed);
}

// What was allowed when the session was made may be forbidden now, on either side.
TEST(Handshake, ResumptionAsksAgain) {
    const Authority ca;
    const auto client = ca.context(leaf_of("web"));
    const auto server = ca.context(leaf_of("db"));
    (void)secure(client, server, "db");
    const auto forbid = [](const Peer& peer) -> Result<> { return invalid("{} is not wanted", peer.id.to_string()); };
    {
        const test::TcpPair sockets;
        auto c = *Handshake::client(client, sockets.client.get(), {test::anybody, {}, "db"});
        auto s = *Handshake::server(server, sockets.server.get(), {forbid});
        const auto outcome = test::drive(c, sockets.client.get(), s, sockets.server.get());
        EXPECT_EQ(outcome.client, Step::kFailed);
        EXPECT_EQ(outcome.server, Step::kFailed);
        EXPECT_EQ(s.failure().reason, Failure::kIdentityRefused);
        EXPECT_EQ(c.failure().reason, Failure::kRefusedByPeer);
    }
    {
        const test::TcpPair sockets;
        auto c = *Handshake::client(client, sockets.client.get(), {forbid, {}, "db"});
        auto s = *Handshake::server(server, sockets.server.get(), {test::anybody});
        EXPECT_EQ(test::drive(c, sockets.client.get(), s, sockets.server.get()).client, Step::kFailed);
        EXPECT_EQ(c.failure().reason, Failure::kIdentityRefused);
    }
}

TEST(Handshake, SessionsAreBounded) {
    const Authority ca;
    ContextOptions options;
    options.client_sessions = 3;
    const auto client = ca.context({}, options);
    const auto server = ca.context();
    for (const auto* key : {"a", "b", "c", "a", "d"}) {
        (void)secure(client, server, key);
    }
    EXPECT_EQ(client->session_count(), 3U);
    EXPECT_TRUE(secure(client, server, "a").client->established().resumed) << "used lately";
    EXPECT_FALSE(secure(client, server, "b").client->established().resumed) << "the least recently used one went";
}

TEST(Handshake, SessionsOfAServerAreBounded) {
    const Authority ca;
    ContextOptions options;
    options.server_sessions = 2;
    const auto server = ca.context(leaf_of("db"), options);
    const auto client = ca.context(leaf_of("web"));
    for (const auto* key : {"a", "b", "c"}) {
        (void)secure(client, server, key);
    }
    EXPECT_EQ(server->given_session_count(), 2U);
    EXPECT_FALSE(secure(client, server, "a").server->established().resumed) << "the oldest one went";
    EXPECT_TRUE(secure(client, server, "c").server->established().resumed);
    options.server_sessions = 0;
    const auto forgetful = ca.context(leaf_of("db"), options);
    for (int i = 0; i < 2; ++i) {
        const auto pair = secure(client, forgetful, "forgetful");
        EXPECT_FALSE(pair.server->established().resumed);
        EXPECT_EQ(pair.server->established().traffic.send.sequence, 1U) << "the client waits for a ticket all the same";
    }
    EXPECT_EQ(forgetful->given_session_count(), 0U);
}

TEST(Handshake, SessionsOfAServerGrowOld) {
    const Authority ca;
    ContextOptions options;
    options.ticket_seconds = 1;
    const auto server = ca.context(leaf_of("db"), options);
    const auto client = ca.context(leaf_of("web"), options);
    const auto made = std::time(nullptr);
    (void)secure(client, server, "a");
    ASSERT_TRUE(test::eventually([&] { return std::time(nullptr) > made + 2; }));
    EXPECT_FALSE(secure(client, server, "a").server->established().resumed);
    EXPECT_EQ(server->given_session_count(), 1U) << "the old one is freed";
}

// Connections that begin at the same time have the same ticket.
TEST(Handshake, TheSameTicketIsTakenTwice) {
    const Authority ca;
    const auto client = ca.context(leaf_of("web"));
    const auto server = ca.context(leaf_of("db"));
    (void)secure(client, server, "db");
    const test::TcpPair first;
    const test::TcpPair second;
    auto first_client = *Handshake::client(client, first.client.get(), {test::anybody, {}, "db"});
    auto second_client = *Handshake::client(client, second.client.get(), {test::anybody, {}, "db"});
    auto first_server = *Handshake::server(server, first.server.get(), {test::anybody});
    auto second_server = *Handshake::server(server, second.server.get(), {test::anybody});
    EXPECT_EQ(test::drive(first_client, first.client.get(), first_server, first.server.get()).client, Step::kDone);
    EXPECT_EQ(test::drive(second_client, second.client.get(), second_server, second.server.get()).client, Step::kDone);
    EXPECT_TRUE(first_client.established().resumed);
    EXPECT_TRUE(second_client.established().resumed);
}

TEST(Handshake, OneContextServesManyThreads) {
    const Authority ca(true);
    const auto client = ca.context(leaf_of("web"));
    const auto server = ca.context(leaf_of("db"));
    std::atomic<int> resumed = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 25; ++i) {
                // All threads under one key: they take copies of the same session and replace it.
                resumed += secure(client, server, "db").client->established().resumed ? 1 : 0;
                if (t == 0 && i % 10 == 9) {
                    server->forget_sessions();
                }
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    EXPECT_GT(resumed, 50);
}

TEST(Handshake, SeveralTrustDomains) {
    const Authority ours;
    const Authority theirs;
    auto mine = ours.credentials(leaf_of("web"));
    mine.roots["partner.example"].push_back(share(theirs.root()));
    test::LeafOptions foreign;
    foreign.uris = {"spiffe://partner.example/ns/shop/sa/db"};
    auto other = theirs.credentials(foreign, "partner.example");
    other.roots["cluster.local"].push_back(share(ours.root()));
    const auto pair = secure(*Context::create(mine), *Context::create(other));
    EXPECT_EQ(pair.client->established().peer.id.trust_domain, "partner.example");
    EXPECT_EQ(pair.server->established().peer.id.trust_domain, "cluster.local");
}

} // namespace
} // namespace weft::ktls
