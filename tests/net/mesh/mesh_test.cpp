// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What two applications see of each other when their connection goes by mutual TLS: what they would see without.
#include <algorithm>
#include <thread>

#include "agent/mesh/sockets.hpp"
#include "tests/net/ktls/streams.hpp"
#include "tests/net/mesh/mesh_world.hpp"

namespace weft::test {
namespace {

using ktls::test::eventually;
using mesh::Side;
using namespace std::chrono_literals;

class MeshPath : public MeshWorld {
protected:
    void SetUp() override { start(); }
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
    const std::lock_guard lock(reports_mutex);
    const auto found = std::ranges::find(reports, "identity-refused", &mesh::FailureReport::reason);
    ASSERT_NE(found, reports.end());
    EXPECT_EQ(found->facts.peer->service_account, "web");
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
    mesh->close_if([](const mesh::ConnectionFacts& facts) { return facts.peer->service_account == "web"; });
    EXPECT_EQ(receive(ends.client.get()).first, "!ECONNRESET");
    EXPECT_EQ(receive(ends.server.get()).first, "!ECONNRESET");
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
