// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What two applications see of each other when their connection goes by mutual TLS: what they would see without.
#include <algorithm>
#include <map>
#include <mutex>
#include <thread>

#include "agent/bpf/conn_reader.hpp"
#include "agent/mesh/sockets.hpp"
#include "tests/net/ktls/streams.hpp"
#include "tests/net/mesh/mesh_world.hpp"

namespace weft::test {
namespace {

using ktls::test::eventually;
using mesh::Moment;
using mesh::Side;
using namespace std::chrono_literals;

class MeshPath : public MeshWorld {
protected:
    void SetUp() override {
        mesh::Limits limits;
        limits.certificate = 1s; // one that is taken away at once may never have been seen
        start(limits);
    }
};

INSTANTIATE_TEST_SUITE_P(Families, MeshPath, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(MeshPath, BothEndsSeeEachOtherAsWithPlainTcp) {
    const auto ends = connect();
    ASSERT_EQ(ends.error, 0);
    ASSERT_TRUE(ends.server.valid());
    EXPECT_EQ(peer_name(ends.client.get()), shown(family.server(2), 8080));
    EXPECT_EQ(own_name(ends.server.get()), shown(family.server(2), 8080));
    EXPECT_EQ(peer_name(ends.server.get()), own_name(ends.client.get())) << "the original five-tuple, port included";

    ASSERT_EQ(send_text(ends.client.get(), "hello"), 0);
    EXPECT_EQ(receive(ends.server.get()).first, "hello");
    ASSERT_EQ(send_text(ends.server.get(), "welcome"), 0);
    EXPECT_EQ(receive(ends.client.get()).first, "welcome");
}

TEST_P(MeshPath, BothIdentitiesAreProven) {
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ASSERT_TRUE(eventually([&] { return mesh->stats().connections().size() == 2; }, 5s));
    for (const auto& [id, facts] : mesh->stats().connections()) {
        ASSERT_TRUE(facts.peer.has_value());
        EXPECT_EQ(facts.peer->service_account, facts.side == Side::kClient ? "api" : "web");
        EXPECT_EQ(facts.workload->id.service_account, facts.side == Side::kClient ? "web" : "api");
        EXPECT_EQ(facts.carrier, kernel_tls() ? mesh::Carrier::kRelay : mesh::Carrier::kUserspace)
            << facts.why_not_kernel;
        EXPECT_FALSE(facts.cipher.empty());
    }
}

TEST_P(MeshPath, TheKernelAnnouncesOneFlowAtEachEnd) {
    const auto before = static_cast<std::ptrdiff_t>(world.events().size()); // the kernel's TLS was probed
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    std::vector<weft_event> seen;
    ASSERT_TRUE(eventually(
        [&] {
            seen = world.events();
            seen.erase(seen.begin(), seen.begin() + before);
            return std::ranges::count(seen, WEFT_EVENT_ACCEPT, &weft_event::kind) == 1;
        },
        5s));
    EXPECT_EQ(std::ranges::count(seen, WEFT_EVENT_CONNECT, &weft_event::kind), 1);
    for (const auto& event : seen) {
        EXPECT_TRUE(event.flags & WEFT_EVENT_MUTUAL_TLS);
        EXPECT_FALSE(Ip(event.local.addr).is_loopback());
        EXPECT_FALSE(Ip(event.remote.addr).is_loopback());
    }
}

TEST_P(MeshPath, PayloadIsCountedByTheKernelAndByPrincipals) {
    auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ASSERT_TRUE(exchange(ends.client.get(), ends.server.get(), 100'000, 5));
    ASSERT_TRUE(exchange(ends.server.get(), ends.client.get(), 50'000, 6));
    const auto listed = [&](bool client) {
        const auto all = bpf::read_connections(bpf_program__fd(world.bpf().progs.weft_conn_iter),
                                               bpf_map__fd(world.bpf().maps.weft_socket));
        EXPECT_TRUE(all.has_value());
        for (const auto& conn : *all) {
            if ((conn.socket.flags & WEFT_SOCKET_MESH) != 0 && (conn.socket.role == WEFT_ROLE_CLIENT) == client) {
                return std::pair(conn.bytes_sent, conn.bytes_received);
            }
        }
        return std::pair<__u64, __u64>();
    };
    EXPECT_TRUE(eventually([&] { return listed(true) == std::pair<__u64, __u64>(100'000, 50'000); }, 20s));
    EXPECT_TRUE(eventually([&] { return listed(false) == std::pair<__u64, __u64>(50'000, 100'000); }, 20s));

    ends.client.reset();
    ends.server.reset();
    EXPECT_TRUE(eventually([&] { return mesh->stats().connections().empty(); }, 20s));
    const auto counted = mesh->stats().principals();
    ASSERT_EQ(counted.size(), 2U);
    for (const auto& [key, count] : counted) {
        EXPECT_TRUE(key.mutual_tls);
        EXPECT_EQ(key.source, "spiffe://cluster.local/ns/shop/sa/web");
        EXPECT_EQ(key.destination, "spiffe://cluster.local/ns/shop/sa/api");
        EXPECT_EQ(count.opened, 1U);
        EXPECT_EQ(count.closed, 1U);
        EXPECT_EQ(count.sent, key.side == Side::kClient ? 100'000U : 50'000U);
        EXPECT_EQ(count.received, key.side == Side::kClient ? 50'000U : 100'000U);
    }
    view.workloads.erase(world.client.cookie());
    mesh->update(std::make_shared<const mesh::View>(view));
    EXPECT_EQ(mesh->stats().principals().size(), 1U) << "nobody here is the client's identity any more";
}

TEST_P(MeshPath, EachMomentIsToldToWhoeverTraces) {
    std::mutex mutex;
    std::map<Side, std::vector<Moment>> seen;
    std::map<Side, std::int64_t> last;
    mesh->trace([&](const mesh::MomentReport& report) {
        const std::lock_guard lock(mutex);
        seen[report.facts.side].push_back(report.moment);
        EXPECT_LE(last[report.facts.side], report.at_ns) << static_cast<int>(report.moment);
        last[report.facts.side] = report.at_ns;
    });
    auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    const auto both_came_to = [&](Moment moment) {
        const std::lock_guard lock(mutex);
        return seen.size() == 2 && seen[Side::kClient].back() == moment && seen[Side::kServer].back() == moment;
    };
    // An end that the relay tells before it has said that it took the connection would come first.
    ASSERT_TRUE(eventually([&] { return both_came_to(kernel_tls() ? Moment::kTaken : Moment::kCarried); }, 20s));
    ends.client.reset();
    ends.server.reset();
    EXPECT_TRUE(eventually([&] { return both_came_to(Moment::kEnded); }, 20s));
    mesh->trace({});
    std::vector client{Moment::kAccepted, Moment::kDialled, Moment::kConnected, Moment::kProven, Moment::kEstablished};
    std::vector server{Moment::kAccepted, Moment::kHandshake, Moment::kProven, Moment::kEstablished,
                       Moment::kApplication};
    for (auto* side : {&client, &server}) {
        if (kernel_tls()) {
            side->insert(side->end(), {Moment::kKeys, Moment::kCarried, Moment::kTaken, Moment::kEnded});
        } else {
            side->insert(side->end(), {Moment::kCarried, Moment::kEnded});
        }
    }
    EXPECT_EQ(seen[Side::kClient], client);
    EXPECT_EQ(seen[Side::kServer], server);
    seen.clear();
    (void)connect(8081);
    EXPECT_TRUE(seen.empty()) << "nobody traces any more";
}

TEST_P(MeshPath, CarriesManyBytesBothWaysAtOnce) {
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    bool there = false;
    bool back = false;
    std::thread other([&] { back = exchange(ends.server.get(), ends.client.get(), 8UL << 20, 7); });
    there = exchange(ends.client.get(), ends.server.get(), 8UL << 20, 3);
    other.join();
    EXPECT_TRUE(there);
    EXPECT_TRUE(back);
}

TEST_P(MeshPath, HalfCloseReachesTheOtherEndAndTheRestStillFlows) {
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ASSERT_EQ(send_text(ends.client.get(), "question"), 0);
    ASSERT_EQ(::shutdown(ends.client.get(), SHUT_WR), 0);
    EXPECT_EQ(read_all(ends.server.get()), "question");
    ASSERT_EQ(send_text(ends.server.get(), "answer"), 0);
    ASSERT_EQ(::shutdown(ends.server.get(), SHUT_WR), 0);
    EXPECT_EQ(read_all(ends.client.get()), "answer");
    EXPECT_TRUE(eventually([&] { return mesh->stats().connections().empty(); }, 5s));
}

TEST_P(MeshPath, AResetReachesTheOtherEnd) {
    for (const bool by_client : {true, false}) {
        auto ends = connect();
        ASSERT_TRUE(ends.server.valid());
        ASSERT_EQ(send_text(ends.client.get(), "x"), 0);
        ASSERT_EQ(receive(ends.server.get()).first, "x");
        mesh::reset(by_client ? ends.client : ends.server);
        EXPECT_EQ(receive((by_client ? ends.server : ends.client).get()).first, "!ECONNRESET");
    }
}

TEST_P(MeshPath, AnApplicationThatDoesNotListenResetsTheClient) {
    const auto fd = client_socket(SOCK_STREAM, 20);
    EXPECT_EQ(connect_and_receive(fd.get(), 9), "!ECONNRESET") << "never a clean end";
    EXPECT_TRUE(eventually([&] { return failures(Side::kServer, "connect-failed") == 1; }, 5s));
}

TEST_P(MeshPath, AnEmptyConnectionEndsInOrder) {
    auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ends.client.reset();
    EXPECT_EQ(read_all(ends.server.get()), "");
}

TEST_P(MeshPath, AnIdentityThatTheAddressMayNotHaveIsRefusedByTheServer) {
    for (const auto* address : {"10.77.0.1", "fd77::1"}) {
        view.peers[*Ip::parse(address)] = *SpiffeId::make("cluster.local", "shop", "other");
    }
    publish();
    const auto fd = client_socket(SOCK_STREAM, 20);
    EXPECT_EQ(connect_and_receive(fd.get(), 8080), "!ECONNRESET");
    EXPECT_TRUE(eventually([&] { return failures(Side::kServer, "identity-refused") == 1; }, 5s));
    EXPECT_TRUE(eventually([&] { return failures(Side::kClient, "refused-by-peer") == 1; }, 5s));
    EXPECT_TRUE(eventually(
        [&] { // a failure is told after it is counted
            const std::lock_guard lock(reports_mutex);
            const auto found = std::ranges::find(reports, "identity-refused", &mesh::FailureReport::reason);
            return found != reports.end() && found->facts.peer->service_account == "web";
        },
        5s));
}

TEST_P(MeshPath, AnIdentityThatTheAddressMayNotHaveIsRefusedByTheClient) {
    for (const auto* address : {"10.77.0.2", "fd77::2"}) {
        view.peers[*Ip::parse(address)] = *SpiffeId::make("cluster.local", "shop", "other");
    }
    publish();
    const auto listener = listen_in_server();
    const auto fd = client_socket(SOCK_STREAM, 20);
    EXPECT_EQ(connect_and_receive(fd.get(), 8080), "!ECONNRESET");
    EXPECT_TRUE(eventually([&] { return failures(Side::kClient, "identity-refused") == 1; }, 5s));
    pollfd silent{listener.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&silent, 1, 200), 0) << "the application never hears of it";
}

TEST_P(MeshPath, ARevokedCertificateIsRefused) {
    view.revoked.insert("spiffe://cluster.local/ns/shop/sa/web");
    publish();
    const auto fd = client_socket(SOCK_STREAM, 20);
    EXPECT_EQ(connect_and_receive(fd.get(), 8080), "!ECONNRESET");
    EXPECT_TRUE(eventually([&] { return failures(Side::kServer, "identity-refused") == 1; }, 5s));
}

TEST_P(MeshPath, RevocationClosesExactlyTheConnectionsThatUseIt) {
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ASSERT_TRUE(eventually([&] { return mesh->stats().connections().size() == 2; }, 5s));
    mesh->close_if([](const mesh::ConnectionFacts& facts) { return facts.peer->service_account == "nobody"; });
    ASSERT_EQ(send_text(ends.client.get(), "x"), 0);
    ASSERT_EQ(receive(ends.server.get()).first, "x");
    EXPECT_TRUE(mesh->stats().totals().revoked.empty());
    mesh->close_if([](const mesh::ConnectionFacts& facts) { return facts.peer->service_account == "web"; });
    EXPECT_EQ(receive(ends.client.get()).first, "!ECONNRESET");
    EXPECT_EQ(receive(ends.server.get()).first, "!ECONNRESET");
    EXPECT_TRUE(eventually([&] { return mesh->stats().connections().empty(); }, 20s));
    const std::map<Side, std::uint64_t> once{{Side::kServer, 1}};
    EXPECT_EQ(mesh->stats().totals().revoked, once) << "the other end was reset by its peer";
}

TEST_P(MeshPath, WithoutACertificateNothingIsCarried) {
    std::erase_if(view.contexts, [](const auto& one) { return one.first.service_account == "web"; });
    publish();
    const auto fd = client_socket(SOCK_STREAM, 20);
    EXPECT_EQ(connect_and_receive(fd.get(), 8080), "!ECONNRESET");
    EXPECT_TRUE(eventually([&] { return failures(Side::kClient, "no-credentials") == 1; }, 5s));
}

class MeshSilence : public MeshWorld {
protected:
    void SetUp() override {
        mesh::Limits limits;
        limits.silence = 300ms; // the peer says nothing by plan: no hello can come later
        start(limits);
    }
};

INSTANTIATE_TEST_SUITE_P(Families, MeshSilence, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(MeshSilence, APermissiveApplicationSpeaksFirstToPlaintext) {
    withdraw_client();
    const auto ends = connect();
    ASSERT_EQ(ends.error, 0);
    ASSERT_TRUE(ends.server.valid());
    ASSERT_EQ(send_text(ends.server.get(), "220 ready"), 0);
    EXPECT_EQ(receive(ends.client.get()).first, "220 ready");
    ASSERT_EQ(send_text(ends.client.get(), "HELO"), 0);
    EXPECT_EQ(receive(ends.server.get()).first, "HELO");
    EXPECT_EQ(peer_name(ends.server.get()), own_name(ends.client.get()));
}

TEST_P(MeshPath, FirstBytesThatAreNoHandshakeReachTheApplicationWhole) {
    withdraw_client();
    const auto listener = listen_in_server();
    const auto fd = client_socket(SOCK_STREAM, 20);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(2), 8080)), 0);
    ASSERT_EQ(send_text(fd.get(), std::string("\x16\x03\x01 not quite", 13)), 0);
    ASSERT_EQ(::shutdown(fd.get(), SHUT_WR), 0);
    const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(accepted.valid());
    EXPECT_EQ(read_all(accepted.get()), std::string("\x16\x03\x01 not quite", 13));
    for (const auto& event : world.events()) {
        if (event.kind == WEFT_EVENT_ACCEPT && event.local.port == 8080) {
            EXPECT_FALSE(event.flags & WEFT_EVENT_MUTUAL_TLS) << "it crossed the wire as it is";
        }
    }
    const auto counted = mesh->stats().principals();
    ASSERT_EQ(counted.size(), 1U);
    EXPECT_FALSE(counted.begin()->first.mutual_tls);
    EXPECT_EQ(counted.begin()->first.source, "unknown");
}

TEST_P(MeshPath, AStrictWorkloadTakesNoPlaintext) {
    withdraw_client();
    set_mode(k8s::TlsMode::kStrict);
    const auto listener = listen_in_server();
    const auto fd = client_socket(SOCK_STREAM, 20);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(2), 8080)), 0);
    ASSERT_EQ(send_text(fd.get(), "GET / HTTP/1.0\r\n\r\n"), 0);
    EXPECT_EQ(receive(fd.get()).first, "!ECONNRESET");
    EXPECT_TRUE(eventually([&] { return failures(Side::kServer, "plaintext-refused") == 1; }, 5s));
    pollfd silent{listener.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&silent, 1, 200), 0) << "the application never hears of it";
}

TEST_P(MeshPath, AStrictWorkloadTakesMutualTls) {
    set_mode(k8s::TlsMode::kStrict);
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    ASSERT_EQ(send_text(ends.client.get(), "hello"), 0);
    EXPECT_EQ(receive(ends.server.get()).first, "hello");
}

TEST_P(MeshPath, TheSecondConnectionResumesTheSession) {
    const auto ends = connect();
    ASSERT_TRUE(ends.server.valid());
    // The application has its connection before the client has the ticket.
    ASSERT_TRUE(eventually([&] { return mesh->stats().totals().opened.size() == 2; }, 20s));
    const auto again = connect();
    ASSERT_TRUE(again.server.valid());
    EXPECT_TRUE(eventually([&] { return mesh->stats().totals().resumed == 2; }, 20s))
        << "seen at both ends, not " << mesh->stats().totals().resumed;
}

TEST_P(MeshPath, AWorkloadThatLeavesTheMeshIsReachedDirectly) {
    const auto kept = connect();
    ASSERT_TRUE(kept.server.valid());
    world.set_identity(*Ip::parse(family.server(2)), 700, 0);
    world.set_identity(*Ip::parse(family.client), 700, 0);
    const auto ends = connect(8081);
    ASSERT_TRUE(ends.server.valid());
    ASSERT_EQ(send_text(ends.client.get(), "plain"), 0);
    EXPECT_EQ(receive(ends.server.get()).first, "plain");
    ASSERT_EQ(send_text(kept.client.get(), "still here"), 0);
    EXPECT_EQ(receive(kept.server.get()).first, "still here");
    EXPECT_LE(mesh->stats().connections().size(), 2U);
}

} // namespace
} // namespace weft::test
