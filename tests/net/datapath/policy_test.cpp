// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Allow and deny through real sockets: at the call, on packets, for replies, and when the policy changes.
#include <netinet/ip.h>

#include "tests/net/datapath/family.hpp"

namespace weft::test {
namespace {

constexpr std::uint64_t kPolicy = 4242;
constexpr std::uint64_t kPeer = 5000;

class PolicyTest : public DatapathTest {
protected:
    void isolate_client(std::uint32_t flags) {
        world.set_endpoint(world.client, "10.77.0.1", "fd77::1", flags, kPolicy);
    }
    void isolate_server(std::uint32_t flags) {
        world.set_endpoint(world.server, "10.77.0.2", "fd77::2", flags | WEFT_ENDPOINT_ANY_SOURCE, kPolicy);
    }
    void know_server(int n) { world.set_identity(*Ip::parse(family.server(n)), kPeer); }
    void know_client() { world.set_identity(*Ip::parse(family.client), kPeer); }
};

INSTANTIATE_TEST_SUITE_P(Families, PolicyTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(PolicyTest, EgressDenyRefusesAtConnect) {
    const auto listener = serve_tcp(3, 8080);
    isolate_client(WEFT_ENDPOINT_ISOLATED_EGRESS);
    const auto fd = client_socket(SOCK_STREAM);
    EXPECT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), ECONNREFUSED);
    EXPECT_EQ(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_EGRESS), 1U);
    const auto events = world.events();
    ASSERT_EQ(events.size(), 1U);
    EXPECT_EQ(events[0].kind, WEFT_EVENT_DENIED);
    EXPECT_EQ(events[0].reason, WEFT_REASON_POLICY_DENIED);
    EXPECT_EQ(events[0].remote.port, 8080);
    EXPECT_EQ(events[0].workload, world.client.cookie() * 1000);
}

TEST_P(PolicyTest, EgressAllowIsByIdentityProtocolAndPort) {
    const auto right = serve_tcp(3, 8080);
    const auto wrong = serve_tcp(3, 8081);
    const auto other = serve_tcp(4, 8080);
    isolate_client(WEFT_ENDPOINT_ISOLATED_EGRESS);
    know_server(3);
    world.allow(kPolicy, WEFT_EGRESS, kPeer, IPPROTO_TCP, 8080);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.server(3), 8080)), 0);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.server(3), 8081)), ECONNREFUSED);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.server(4), 8080)), ECONNREFUSED);
    EXPECT_EQ(connect_to(client_socket(SOCK_DGRAM).get(), family.dial(family.server(3), 8080)), ECONNREFUSED);
}

TEST_P(PolicyTest, PolicyJudgesTheBackendNotTheService) {
    const auto listener = serve_tcp(3, 8080);
    world.set_service(vip(80, IPPROTO_TCP), {backend(3, 8080, IPPROTO_TCP)});
    isolate_client(WEFT_ENDPOINT_ISOLATED_EGRESS);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.vip, 80)), ECONNREFUSED);
    know_server(3);
    world.allow(kPolicy, WEFT_EGRESS, kPeer, IPPROTO_TCP, 8080);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.vip, 80)), 0);
}

TEST_P(PolicyTest, IngressDenyDropsInSilence) {
    const auto listener = serve_tcp(3, 8080);
    isolate_server(WEFT_ENDPOINT_ISOLATED_INGRESS);
    const auto fd = client_socket(SOCK_STREAM, 1);
    EXPECT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), EINPROGRESS)
        << "no answer within the time limit";
    EXPECT_GE(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_INGRESS), 1U);
}

TEST_P(PolicyTest, IngressAllowOpensThePortAndRepliesPass) {
    const auto listener = serve_tcp(3, 8080);
    isolate_server(WEFT_ENDPOINT_ISOLATED_INGRESS | WEFT_ENDPOINT_ISOLATED_EGRESS);
    know_client();
    world.allow(kPolicy, WEFT_INGRESS, kPeer, IPPROTO_TCP, 8080);
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), 0);
    const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_EQ(send_text(accepted.get(), "welcome"), 0);
    EXPECT_EQ(receive(fd.get()).first, "welcome") << "egress isolation does not stop replies";
}

TEST_P(PolicyTest, TheNodesOwnAddressMayAlwaysComeIn) {
    const auto listener = serve_tcp(3, 8080);
    isolate_server(WEFT_ENDPOINT_ISOLATED_INGRESS);
    world.set_identity(*Ip::parse(family.client), WEFT_IDENTITY_HOST, WEFT_PEER_LOCAL_NODE);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.server(3), 8080)), 0);
}

TEST_P(PolicyTest, APodReachesItself) {
    isolate_server(WEFT_ENDPOINT_ISOLATED_INGRESS | WEFT_ENDPOINT_ISOLATED_EGRESS);
    const auto listener = serve_tcp(2, 8080);
    world.server.run([&] {
        const auto fd = open_socket(family.domain(), SOCK_STREAM);
        EXPECT_EQ(connect_to(fd.get(), family.dial(family.server(2), 8080)), 0);
    });
    UniqueFd loop_listener;
    const std::string loopback = family.domain() == AF_INET6 && !family.mapped ? "::1" : "127.0.0.1";
    world.server.run([&] {
        loop_listener = listen_on(SockAddr(loopback, 8081));
        const auto fd = open_socket(family.domain(), SOCK_STREAM);
        EXPECT_EQ(connect_to(fd.get(), family.dial(loopback, 8081)), 0);
    });
}

TEST_P(PolicyTest, UdpRepliesPassInBothDirections) {
    const auto server = serve_udp(3, 5353);
    // The client may send but accepts nothing unasked; the server accepts but may send nothing unasked.
    isolate_client(WEFT_ENDPOINT_ISOLATED_INGRESS);
    const auto fd = client_socket(SOCK_DGRAM);
    ASSERT_EQ(send_text(fd.get(), "ask", family.dial(family.server(3), 5353)), 0);
    SockAddr from;
    char buffer[16];
    ASSERT_EQ(::recvfrom(server.get(), buffer, sizeof buffer, 0, from.get(), &from.size), 3);
    isolate_server(WEFT_ENDPOINT_ISOLATED_EGRESS);
    world.bump_revision();
    ASSERT_EQ(send_text(fd.get(), "again", family.dial(family.server(3), 5353)), 0);
    ASSERT_EQ(::recvfrom(server.get(), buffer, sizeof buffer, 0, from.get(), &from.size), 5);
    ASSERT_EQ(send_text(server.get(), "answer", from), 0) << "a reply of an allowed flow";
    EXPECT_EQ(receive(fd.get()).first, "answer");
    // Unasked traffic in the closed directions is stopped.
    EXPECT_EQ(send_text(server.get(), "push", SockAddr(family.client, 9)), ECONNREFUSED);
}

TEST_P(PolicyTest, UnaskedUdpIsDroppedAtTheReceiver) {
    isolate_client(WEFT_ENDPOINT_ISOLATED_INGRESS);
    UniqueFd receiver;
    world.client.run([&] { receiver = bound_datagram(SockAddr(family.client, 7000)); });
    const auto sender = serve_udp(3, 5353);
    ASSERT_EQ(send_text(sender.get(), "push", SockAddr(family.client, 7000)), 0);
    pollfd ready{receiver.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&ready, 1, 200), 0);
    EXPECT_EQ(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_INGRESS), 1U);
}

TEST_P(PolicyTest, APolicyChangeCutsEstablishedConnections) {
    const auto listener = serve_tcp(3, 8080);
    const auto fd = client_socket(SOCK_STREAM, 1);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), 0);
    const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_EQ(send_text(fd.get(), "before"), 0);
    EXPECT_EQ(receive(accepted.get()).first, "before");
    isolate_client(WEFT_ENDPOINT_ISOLATED_EGRESS);
    world.bump_revision();
    ASSERT_EQ(send_text(fd.get(), "after"), 0) << "the call itself succeeds, the packet does not leave";
    EXPECT_EQ(receive(accepted.get()).first, "!EAGAIN");
    EXPECT_GE(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_EGRESS), 1U);
    // Allowing it again revives the connection: TCP sends what was lost.
    isolate_client(0);
    world.bump_revision();
    EXPECT_EQ(receive(accepted.get()).first, "after");
}

TEST_P(PolicyTest, AChangeThatStillAllowsDoesNotDisturb) {
    const auto listener = serve_tcp(3, 8080);
    isolate_client(WEFT_ENDPOINT_ISOLATED_EGRESS);
    know_server(3);
    world.allow(kPolicy, WEFT_EGRESS, kPeer, IPPROTO_TCP, 8080);
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), 0);
    const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    for (int i = 0; i < 5; ++i) {
        world.bump_revision();
        ASSERT_EQ(send_text(fd.get(), "x"), 0);
        EXPECT_EQ(receive(accepted.get()).first, "x");
    }
    EXPECT_EQ(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_EGRESS), 0U);
}

TEST_P(PolicyTest, AListenerThatOnceConnectedIsNoClient) {
    // A socket that fails to connect and then listens must not keep the client's privilege that replies pass.
    isolate_server(WEFT_ENDPOINT_ISOLATED_INGRESS);
    UniqueFd fd;
    world.server.run([&] {
        fd = open_socket(SockAddr(family.server(3), 1).family(), SOCK_STREAM);
        const SockAddr at(family.server(3), 8080);
        ASSERT_EQ(::bind(fd.get(), at.get(), at.size), 0);
        EXPECT_EQ(connect_to(fd.get(), SockAddr(family.server(3), 1)), ECONNREFUSED);
        const sockaddr unspecified{AF_UNSPEC, {}};
        (void)::connect(fd.get(), &unspecified, sizeof unspecified); // back to the start, whatever state it is in
        ASSERT_EQ(::listen(fd.get(), 8), 0);
    });
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM, 1).get(), family.dial(family.server(3), 8080)), EINPROGRESS);
}

TEST_P(PolicyTest, AnUnknownWorkloadIsRefused) {
    const std::uint64_t cookie = world.client.cookie();
    ASSERT_EQ(bpf_map_delete_elem(bpf_map__fd(world.bpf().maps.weft_endpoint), &cookie), 0);
    const auto listener = serve_tcp(3, 8080);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.server(3), 8080)), ECONNREFUSED);
    EXPECT_EQ(world.drops(WEFT_REASON_UNKNOWN_WORKLOAD, WEFT_EGRESS), 1U);
    world.set_config_flags(WEFT_CONFIG_ALLOW_UNKNOWN);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.server(3), 8080)), 0);
}

TEST_P(PolicyTest, AForeignSourceAddressIsDropped) {
    if (family.mapped) {
        return; // the source is chosen by bind: the IPv4 case covers it
    }
    const std::string foreign = family.domain() == AF_INET ? "10.77.0.200" : "fd77::200";
    world.client.shell(std::string("ip addr add ") + foreign + (family.domain() == AF_INET ? "/24" : "/64") +
                       " dev veth0" + (family.domain() == AF_INET ? "" : " nodad"));
    const auto server = serve_udp(3, 5353);
    UniqueFd fd;
    world.client.run([&] { fd = bound_datagram(SockAddr(foreign, 6000)); });
    EXPECT_EQ(send_text(fd.get(), "spoof", SockAddr(family.server(3), 5353)), 0) << "dropped in silence";
    pollfd ready{server.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&ready, 1, 200), 0);
    EXPECT_EQ(world.drops(WEFT_REASON_SPOOFED_SOURCE, WEFT_EGRESS), 1U);
    world.set_endpoint(world.client, "10.77.0.1", "fd77::1", WEFT_ENDPOINT_ANY_SOURCE);
    EXPECT_EQ(send_text(fd.get(), "allowed", SockAddr(family.server(3), 5353)), 0);
    EXPECT_EQ(receive(server.get()).first, "allowed");
}

TEST_P(PolicyTest, ConnectAcceptAndCloseAreReported) {
    const auto listener = serve_tcp(3, 8080);
    world.set_service(vip(80, IPPROTO_TCP), {backend(3, 8080, IPPROTO_TCP)});
    {
        const auto fd = client_socket(SOCK_STREAM);
        ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 80)), 0);
        const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        ASSERT_EQ(send_text(fd.get(), "12345"), 0);
        EXPECT_EQ(receive(accepted.get()).first, "12345");
    }
    bool connected = false, accepted = false, closed = false;
    for (int tries = 0; tries < 200 && !closed; ++tries) {
        for (const auto& event : world.events()) {
            if (event.kind == WEFT_EVENT_CONNECT) {
                connected = true;
                EXPECT_EQ(event.asked.port, 80);
                EXPECT_EQ(event.remote.port, 8080);
                EXPECT_EQ(event.workload, world.client.cookie() * 1000);
                EXPECT_EQ(event.service, service_id_of(vip(80, IPPROTO_TCP)));
                EXPECT_GT(event.duration_ns, 0U);
            } else if (event.kind == WEFT_EVENT_ACCEPT) {
                accepted = true;
                EXPECT_EQ(event.local.port, 8080);
                EXPECT_EQ(event.workload, world.server.cookie() * 1000);
            } else if (event.kind == WEFT_EVENT_CLOSE && event.direction == WEFT_EGRESS) {
                closed = true;
                EXPECT_EQ(event.bytes_sent, 5U);
                EXPECT_EQ(event.bytes_received, 0U);
                EXPECT_GE(event.packets_sent, 3U) << "SYN, ACK, and the payload";
                EXPECT_GE(event.packets_received, 2U) << "SYN with ACK, and an ACK";
                EXPECT_LE(event.packets_sent + event.packets_received, 20U);
                EXPECT_EQ(event.idle_ns, 0U);
            } else if (event.kind == WEFT_EVENT_CLOSE) {
                EXPECT_EQ(event.bytes_sent, 0U);
                EXPECT_EQ(event.bytes_received, 5U);
            }
        }
        pollfd nothing{-1, 0, 0};
        (void)::poll(&nothing, 1, 10); // the close travels through TCP's own timers
    }
    EXPECT_TRUE(connected && accepted && closed);
}

TEST_P(PolicyTest, BytesAreExactAtTheEndThatClosesFirst) {
    const auto listener = serve_tcp(3, 8080);
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), 0);
    UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_EQ(send_text(fd.get(), "12345"), 0);
    EXPECT_EQ(receive(accepted.get()).first, "12345");
    ASSERT_EQ(send_text(accepted.get(), "678"), 0);
    accepted.reset();
    // The client keeps its end open: the server's is done without ever seeing the client's FIN.
    bool closed = false;
    for (int tries = 0; tries < 500 && !closed; ++tries) {
        for (const auto& event : world.events()) {
            if (event.kind == WEFT_EVENT_CLOSE) {
                closed = true;
                EXPECT_EQ(event.direction, WEFT_INGRESS);
                EXPECT_EQ(event.bytes_received, 5U);
                EXPECT_EQ(event.bytes_sent, 3U);
                EXPECT_EQ(event.flags & WEFT_EVENT_RESET, 0U);
            }
        }
        pollfd nothing{-1, 0, 0};
        (void)::poll(&nothing, 1, 10); // an acknowledgement may be delayed
    }
    EXPECT_TRUE(closed);
}

} // namespace
} // namespace weft::test
