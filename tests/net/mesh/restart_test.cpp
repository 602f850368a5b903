// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Connections of the mesh while its agent dies and another one takes over.
#include <poll.h>
#include <sys/un.h>

#include <atomic>
#include <thread>
#include <vector>

#include "agent/mesh/label.hpp"
#include "agent/mesh/sockets.hpp"
#include "tests/net/ktls/streams.hpp"
#include "tests/net/mesh/mesh_world.hpp"

namespace weft::test {
namespace {

using ktls::test::eventually;
using mesh::Side;
using namespace std::chrono_literals;

constexpr auto kLong = 60s;

class MeshRestart : public MeshWorld {
protected:
    void SetUp() override {
        mesh::Limits limits;
        limits.handshake = 60s; // a guest takes seconds where others take milliseconds
        start(limits);
        ASSERT_TRUE(eventually([&] { return kept() == 8; }, kLong));
        mesh.reset(); // each test has its own agents; ports and listeners stay
    }
    std::uint32_t kept() { return relay->info().kept; }
};

INSTANTIATE_TEST_SUITE_P(Families, MeshRestart, ::testing::ValuesIn(kFamilies), family_name);

/// Answers each connection's first byte with another one, until it is destroyed.
class Echo {
public:
    explicit Echo(UniqueFd listener) : listener_(std::move(listener)), thread_([this] { run(); }) {}
    ~Echo() {
        stop_ = true;
        thread_.join();
    }
    Echo(const Echo&) = delete;
    Echo& operator=(const Echo&) = delete;

private:
    void run() {
        while (!stop_) {
            pollfd wanted{listener_.get(), POLLIN, 0};
            if (::poll(&wanted, 1, 50) <= 0) {
                continue;
            }
            const UniqueFd accepted(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            const timeval limit{5, 0};
            char byte = 0;
            (void)::setsockopt(accepted.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
            if (::recv(accepted.get(), &byte, 1, 0) == 1) { // else a client whose agent died begins anew
                (void)::send(accepted.get(), "!", 1, MSG_NOSIGNAL);
            }
        }
    }

    UniqueFd listener_;
    std::atomic<bool> stop_ = false;
    std::thread thread_;
};

TEST_P(MeshRestart, NewConnectionsWaitForTheNextAgent) {
    EXPECT_EQ(kept(), 8U) << "four listeners in each of two pods";
    const Echo server(listen_in_server());
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 8; ++i) {
        clients.push_back(client_socket(SOCK_STREAM, 60));
        ASSERT_EQ(connect_to(clients.back().get(), family.dial(family.server(2), 8080)), 0);
        ASSERT_EQ(send_text(clients.back().get(), "?"), 0);
    }
    const auto upgraded = relay->client().upgrade();
    ASSERT_TRUE(upgraded && relay->client().await(WEFT_RELAY_UPGRADE, kLong)->head.status == WEFT_RELAY_OK);
    ASSERT_NO_FATAL_FAILURE(start_again());
    for (const auto& client : clients) {
        EXPECT_EQ(receive(client.get()).first, "!");
    }
    EXPECT_TRUE(eventually([&] { return kept() == 8; }, kLong)) << "nothing but the listeners";
}

TEST_P(MeshRestart, AHandshakeThatDiesWithTheAgentIsBegunAnew) {
    const Echo server(listen_in_server());
    const auto contexts = view.contexts;
    std::erase_if(view.contexts, [](const auto& one) { return one.first.service_account == "api"; });
    const pid_t first = start_in_a_process(); // the server's side waits for its certificate
    const auto client = client_socket(SOCK_STREAM, 60);
    ASSERT_EQ(connect_to(client.get(), family.dial(family.server(2), 8080)), 0);
    ASSERT_EQ(send_text(client.get(), "?"), 0);
    ASSERT_TRUE(eventually([&] { return kept() == 9; }, kLong)) << "the client's connection is under way";
    kill(first);
    EXPECT_EQ(kept(), 9U);
    view.contexts = contexts;
    ASSERT_NO_FATAL_FAILURE(start_again());
    EXPECT_EQ(receive(client.get()).first, "!");
    EXPECT_TRUE(eventually([&] { return kept() == 8; }, kLong));
}

TEST_P(MeshRestart, AWorkloadWithoutACertificateIsWaitedForAndThenRefused) {
    const auto contexts = view.contexts;
    std::erase_if(view.contexts, [](const auto& one) { return one.first.service_account == "web"; });
    ASSERT_NO_FATAL_FAILURE(start_again());
    const Echo server(listen_in_server());
    const auto client = client_socket(SOCK_STREAM, 60);
    ASSERT_EQ(connect_to(client.get(), family.dial(family.server(2), 8080)), 0);
    ASSERT_EQ(send_text(client.get(), "?"), 0);
    pollfd silent{client.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&silent, 1, 300), 0);
    view.contexts = contexts;
    publish();
    EXPECT_EQ(receive(client.get()).first, "!");
    std::erase_if(view.contexts, [](const auto& one) { return one.first.service_account == "web"; });
    publish();
    const auto late = client_socket(SOCK_STREAM, 60);
    // So soon that connect() may see it.
    EXPECT_EQ(connect_and_receive(late.get(), 8080), "!ECONNRESET") << "it had one: now it fails closed, at once";
}

TEST_P(MeshRestart, WhatIsRevokedDuringTheHandshakeIsNotCarried) {
    const auto contexts = view.contexts;
    std::erase_if(view.contexts, [](const auto& one) { return one.first.service_account == "api"; });
    ASSERT_NO_FATAL_FAILURE(start_again());
    const auto client = client_socket(SOCK_STREAM, 60);
    ASSERT_EQ(connect_to(client.get(), family.dial(family.server(2), 8080)), 0);
    ASSERT_TRUE(eventually([&] { return kept() == 9; }, kLong)) << kept();
    view.contexts = contexts; // the handshake goes on, by what its beginning knew
    view.revoked.insert("spiffe://cluster.local/ns/shop/sa/api");
    publish();
    EXPECT_EQ(receive(client.get()).first, "!ECONNRESET");
    EXPECT_TRUE(eventually([&] { return failures(Side::kClient, "identity-refused") >= 1; }, kLong));
    EXPECT_TRUE(mesh->stats().connections().empty());
}

TEST_P(MeshRestart, UrgentBytesArriveInLine) {
    ASSERT_NO_FATAL_FAILURE(start_again());
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ASSERT_EQ(send_text(ends.client.get(), "before"), 0);
    ASSERT_EQ(::send(ends.client.get(), "!", 1, MSG_OOB), 1);
    ASSERT_EQ(send_text(ends.client.get(), "after"), 0);
    std::string got(12, ' ');
    ASSERT_EQ(::recv(ends.server.get(), got.data(), got.size(), MSG_WAITALL), 12);
    EXPECT_EQ(got, "before!after");
}

TEST_P(MeshRestart, ListenersOfPodsThatLeftWhileTheAgentWasAwayAreDropped) {
    const auto client = client_socket(SOCK_STREAM, 60);
    ASSERT_EQ(connect_to(client.get(), family.dial(family.server(2), 8080)), 0);
    view.workloads.erase(world.client.cookie());
    ASSERT_NO_FATAL_FAILURE(start_again());
    EXPECT_EQ(receive(client.get()).first, "!ECONNRESET") << "it waited for an agent that does not serve it any more";
    EXPECT_TRUE(eventually([&] { return kept() == 4; }, kLong));
}

TEST_P(MeshRestart, AnIncompleteSetOfListenersIsMadeAnew) {
    // As when the agent was killed while it gave them away.
    const auto half = mesh::listener_id({world.server.cookie(), mesh::ListenerRole::kCarrier4});
    ASSERT_TRUE(relay->client().close(half) && relay->client().await(WEFT_RELAY_CLOSE, kLong).has_value());
    ASSERT_NO_FATAL_FAILURE(start_again());
    EXPECT_TRUE(eventually([&] { return kept() == 8; }, kLong)) << kept();
    const Echo server(listen_in_server());
    const auto client = client_socket(SOCK_STREAM, 60);
    ASSERT_EQ(connect_to(client.get(), family.dial(family.server(2), 8080)), 0);
    ASSERT_EQ(send_text(client.get(), "?"), 0);
    EXPECT_EQ(receive(client.get()).first, "!");
    mesh.reset();
    EXPECT_TRUE(eventually([&] { return kept() == 8; }, kLong)) << "not dropped with the old ones, but " << kept();
}

TEST_P(MeshRestart, NoRequestFailsWhileAgentsAreKilled) {
    if (!kernel_tls()) {
        return; // there the agent itself carries the bytes, and they die with it
    }
    pid_t agent = start_in_a_process();
    const Echo server(listen_in_server());
    std::atomic<bool> stop = false;
    std::atomic<int> good = 0;
    std::vector<std::string> bad;
    std::thread load([&] {
        while (!stop) {
            const auto client = client_socket(SOCK_STREAM, 60);
            if (const int code = connect_to(client.get(), family.dial(family.server(2), 8080)); code != 0) {
                bad.push_back("connect: " + std::to_string(code));
                continue;
            }
            const int sent = send_text(client.get(), "?");
            const auto answer = receive(client.get()).first;
            if (sent != 0 || answer != "!") {
                bad.push_back(std::to_string(sent) + " then " + answer);
            }
            ++good;
        }
    });
    for (int i = 0; i < 5; ++i) {
        const int before = good;
        EXPECT_TRUE(eventually([&] { return good > before + 3; }, kLong));
        kill(agent);
        agent = start_in_a_process();
    }
    const int before = good;
    EXPECT_TRUE(eventually([&] { return good > before + 3; }, kLong));
    stop = true;
    load.join();
    kill(agent);
    EXPECT_TRUE(bad.empty()) << bad.size() << " of " << good << ", the first: " << bad.front();
}

TEST_P(MeshRestart, TheNextAgentKnowsWhatIsCarried) {
    if (!kernel_tls()) {
        return; // there nothing is carried beyond the agent's life
    }
    const pid_t first = start_in_a_process();
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ASSERT_EQ(send_text(ends.client.get(), "x"), 0);
    ASSERT_EQ(receive(ends.server.get()).first, "x");
    kill(first);
    ASSERT_NO_FATAL_FAILURE(start_again());
    ASSERT_TRUE(eventually([&] { return mesh->stats().connections().size() == 2; }, kLong));
    for (const auto& [id, facts] : mesh->stats().connections()) {
        EXPECT_EQ(facts.carrier, mesh::Carrier::kRelay);
        EXPECT_FALSE(facts.cipher.empty());
        EXPECT_EQ(facts.workload->id.service_account, facts.side == Side::kClient ? "web" : "api");
        ASSERT_TRUE(facts.peer.has_value());
        EXPECT_EQ(facts.peer->service_account, facts.side == Side::kClient ? "api" : "web");
        EXPECT_EQ(facts.remote.port != 0 && facts.app.port != 0, true);
    }
    mesh->close_if([](const mesh::ConnectionFacts& facts) { return facts.peer->service_account == "nobody"; });
    ASSERT_EQ(send_text(ends.client.get(), "y"), 0);
    ASSERT_EQ(receive(ends.server.get()).first, "y");
    mesh->close_if([](const mesh::ConnectionFacts& facts) { return facts.peer->service_account == "web"; });
    EXPECT_EQ(receive(ends.client.get()).first, "!ECONNRESET");
    EXPECT_EQ(receive(ends.server.get()).first, "!ECONNRESET");
    EXPECT_TRUE(eventually([&] { return mesh->stats().connections().empty(); }, kLong));
}

TEST_P(MeshRestart, ABrokenLinkToALivingRelayEndsNothing) {
    if (!kernel_tls()) {
        return; // there nothing is carried by the relay
    }
    ASSERT_NO_FATAL_FAILURE(start_again());
    std::atomic<int> taken = 0;
    mesh->trace([&](const mesh::MomentReport& report) { taken += report.moment == mesh::Moment::kTaken ? 1 : 0; });
    auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ASSERT_EQ(send_text(ends.client.get(), "x"), 0);
    ASSERT_EQ(receive(ends.server.get()).first, "x");
    ASSERT_TRUE(eventually([&] { return taken == 2; }, kLong)) << "both ends know that the relay has it";
    mesh->trace({});
    int broken = 0;
    for (int fd = 0; fd < 1024; ++fd) {
        sockaddr_un peer{};
        socklen_t size = sizeof peer;
        if (fd != relay->client().fd() && ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) == 0 &&
            peer.sun_family == AF_UNIX && relay->path() == peer.sun_path) {
            broken += ::shutdown(fd, SHUT_RDWR) == 0 ? 1 : 0;
        }
    }
    EXPECT_GT(broken, 0);
    EXPECT_FALSE(eventually([&] { return mesh->stats().connections().size() != 2; }, 4s));
    ASSERT_EQ(send_text(ends.client.get(), "yz"), 0);
    ASSERT_EQ(receive(ends.server.get()).first, "yz");
    mesh::reset(ends.client);
    EXPECT_TRUE(eventually([&] { return mesh->stats().connections().empty(); }, kLong));
    for (const auto& [key, count] : mesh->stats().principals()) {
        EXPECT_EQ(count.opened, 1U);
        EXPECT_EQ(count.closed, 1U);
        EXPECT_EQ(key.side == Side::kClient ? count.sent : count.received, 3U);
    }
}

TEST(MeshLabel, SaysWhatWasWritten) {
    mesh::ConnectionFacts facts;
    auto workload = std::make_shared<mesh::Workload>();
    workload->id = *SpiffeId::make("cluster.local", "shop", "web");
    workload->namespace_name = "shop";
    workload->pod_name = "web-7";
    workload->netns_cookie = 77;
    facts.workload = workload;
    facts.peer = *SpiffeId::make("other.example", "shop", "api");
    facts.own_serial = "0a";
    facts.peer_serial = "0b";
    facts.cipher = "TLS_AES_128_GCM_SHA256";
    facts.group = "x25519";
    facts.remote = make_addr_port(*Ip::parse("10.0.0.9"), 443, IPPROTO_TCP);
    facts.resumed = true;
    const auto text = mesh::write_label(facts);
    const auto label = mesh::read_label(text);
    const auto* read = std::get_if<mesh::ConnectionFacts>(&label);
    ASSERT_NE(read, nullptr);
    EXPECT_EQ(read->workload->id, workload->id);
    EXPECT_EQ(read->workload->name(), "shop/web-7");
    EXPECT_EQ(read->peer, facts.peer);
    EXPECT_EQ(read->peer_serial, "0b");
    EXPECT_EQ(read->cipher, facts.cipher);
    EXPECT_EQ(read->remote.port, 443);
    EXPECT_TRUE(read->resumed);
    for (std::size_t size = 0; size < text.size(); ++size) {
        EXPECT_TRUE(std::holds_alternative<std::monostate>(mesh::read_label(std::string_view(text).substr(0, size))));
    }
    EXPECT_TRUE(std::holds_alternative<std::monostate>(mesh::read_label(text + "x")));
}

TEST(MeshLabel, KeepsIdentitiesBeforeNamesAndNothingWithoutThem) {
    mesh::ConnectionFacts facts;
    auto workload = std::make_shared<mesh::Workload>();
    workload->id = *SpiffeId::make("cluster.local", "shop", "web");
    workload->pod_name = std::string(WEFT_RELAY_LABEL, 'p');
    facts.workload = workload;
    facts.peer = *SpiffeId::make("cluster.local", "shop", "api");
    const auto label = mesh::read_label(mesh::write_label(facts));
    const auto* read = std::get_if<mesh::ConnectionFacts>(&label);
    ASSERT_NE(read, nullptr);
    EXPECT_EQ(read->peer, facts.peer);
    EXPECT_EQ(read->workload->pod_name, "");
    facts.peer_serial = std::string(WEFT_RELAY_LABEL, '7');
    EXPECT_EQ(mesh::write_label(facts), "");
}

} // namespace
} // namespace weft::test
