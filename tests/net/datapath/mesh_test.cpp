// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How hooks and agent hand connections to each other: the test plays the agent's part with plain sockets.
#include <fcntl.h>

#include <algorithm>

#include "tests/net/datapath/family.hpp"
#include "weft/abi/mesh.h"

namespace weft::test {
namespace {

class MeshTest : public DatapathTest {
protected:
    ~MeshTest() override {
        for (bpf_link* link : steering_) {
            bpf_link__destroy(link);
        }
    }
    template <typename Key, typename Value>
    static void put(bpf_map* map, const Key& key, const Value& value) {
        ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(map), &key, &value, BPF_ANY), 0) << std::strerror(errno);
    }
    void enroll(const Netns& netns, std::uint32_t flags, std::uint16_t dial_port) {
        const std::uint64_t cookie = netns.cookie();
        weft_endpoint endpoint{};
        ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_endpoint), &cookie, &endpoint), 0);
        endpoint.flags |= WEFT_ENDPOINT_MESH | WEFT_ENDPOINT_DIALS | flags;
        endpoint.dial_port = dial_port;
        put(world.bpf().maps.weft_endpoint, cookie, endpoint);
    }
    /// The agent's listener for applications of the client.
    UniqueFd dial_listener() {
        UniqueFd fd;
        world.client.run([&] { fd = listen_on(SockAddr(v6() ? "::1" : "127.0.0.1", 0)); });
        mark(fd, WEFT_SOCKET_AGENT);
        const std::string name = own_name(fd.get());
        enroll(world.client, 0, static_cast<std::uint16_t>(std::stoi(name.substr(name.rfind(':') + 1))));
        return fd;
    }
    /// The agent's listener for encrypted connections, in place for the server.
    UniqueFd carrier_listener() {
        UniqueFd fd;
        world.server.run([&] { fd = listen_on(SockAddr(v6() ? "::1" : "127.0.0.1", 0)); });
        const weft_mesh_listen_key key{world.server.cookie(), static_cast<std::uint32_t>(v6() ? AF_INET6 : AF_INET), 0};
        put(world.bpf().maps.weft_mesh_lstn, key, static_cast<std::uint64_t>(fd.get()));
        mark(fd, WEFT_SOCKET_CARRIER);
        return fd;
    }
    /// Says what kind of socket this is; what it accepts inherits that.
    void mark(const UniqueFd& fd, std::uint32_t flags) {
        weft_socket state{};
        const int raw = fd.get();
        EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_socket), &raw, &state), 0);
        state.flags = static_cast<std::uint16_t>(state.flags | flags);
        put(world.bpf().maps.weft_socket, raw, state);
    }
    void steer() {
        world.server.run([&] {
            const UniqueFd self(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
            bpf_link* link = bpf_program__attach_netns(world.bpf().progs.weft_steer, self.get());
            ASSERT_NE(link, nullptr) << std::strerror(errno);
            steering_.push_back(link);
        });
    }
    /// A block of another trust domain that holds every address of the family.
    void foreign_block(std::uint32_t flags) {
        const weft_cidr_key all{v6() ? 0U : 96U, v6() ? weft_addr{} : Ip::v4(0).raw()};
        put(world.bpf().maps.weft_cidr, all, weft_peer{WEFT_IDENTITY_WORLD, flags, 0});
    }
    [[nodiscard]] bool v6() const { return !Ip::parse(family.vip)->is_v4(); }
    [[nodiscard]] std::string loopback() const { return v6() ? "::1" : "127.0.0.1"; }

    std::vector<bpf_link*> steering_;
};

INSTANTIATE_TEST_SUITE_P(Families, MeshTest, ::testing::ValuesIn(kFamilies), family_name);

std::uint16_t port_of(const std::string& name) {
    return static_cast<std::uint16_t>(std::stoi(name.substr(name.rfind(':') + 1)));
}

TEST_P(MeshTest, AConnectToAnEnrolledPeerGoesToTheAgentAndLooksAsAsked) {
    const auto listener = dial_listener();
    world.set_service(vip(80, IPPROTO_TCP), {backend(3, 8080, IPPROTO_TCP)});
    world.set_identity(*Ip::parse(family.server(3)), 777, WEFT_PEER_MESH);
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 80)), 0);
    SockAddr from;
    const UniqueFd accepted(::accept4(listener.get(), from.get(), &from.size, SOCK_CLOEXEC));
    ASSERT_TRUE(accepted.valid());

    EXPECT_EQ(peer_name(fd.get()), shown(family.vip, 80));
    EXPECT_EQ(own_name(fd.get()), shown(family.client, port_of(own_name(fd.get()))));

    weft_mesh_key key{world.client.cookie(), family.end(loopback(), port_of(from.text()), IPPROTO_TCP), 0};
    weft_mesh_dial dial{};
    ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_mesh_dial), &key, &dial), 0);
    const auto wanted = backend(3, 8080, IPPROTO_TCP);
    const auto asked = vip(80, IPPROTO_TCP);
    EXPECT_EQ(std::memcmp(&dial.backend, &wanted, sizeof wanted), 0);
    EXPECT_EQ(std::memcmp(&dial.asked, &asked, sizeof asked), 0);
    EXPECT_NE(dial.cookie, 0U);
    const auto events = world.events();
    ASSERT_EQ(events.size(), 1U) << "the agent's own end is no flow";
    EXPECT_EQ(events[0].kind, WEFT_EVENT_CONNECT);
    EXPECT_EQ(std::memcmp(&events[0].remote, &wanted, sizeof wanted), 0);
    EXPECT_TRUE(events[0].flags & WEFT_EVENT_MUTUAL_TLS);
}

TEST_P(MeshTest, OtherPeersAreReachedDirectly) {
    const auto agent = dial_listener();
    const auto plain = serve_tcp(4, 8080);
    world.set_identity(*Ip::parse(family.server(3)), 777, WEFT_PEER_MESH);
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(4), 8080)), 0);
    SockAddr from;
    const UniqueFd accepted(::accept4(plain.get(), from.get(), &from.size, SOCK_CLOEXEC));
    ASSERT_TRUE(accepted.valid());
    EXPECT_EQ(from.text(), own_name(fd.get()));

    foreign_block(WEFT_PEER_MESH);
    const auto foreign = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(foreign.get(), family.dial(family.server(4), 8080)), 0);
    const UniqueFd at_agent(::accept4(agent.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(at_agent.valid());
    world.set_identity(*Ip::parse(family.server(4)), 777); // the cluster's own, in spite of the block around it
    const auto own = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(own.get(), family.dial(family.server(4), 8080)), 0);
    const UniqueFd direct(::accept4(plain.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(direct.valid());
}

TEST_P(MeshTest, ASocketThatConnectsAgainForgetsTheAgent) {
    const auto agent = dial_listener();
    const auto plain = serve_tcp(4, 8080);
    world.set_identity(*Ip::parse(family.server(3)), 777, WEFT_PEER_MESH);
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), 0);
    sockaddr nothing{};
    nothing.sa_family = AF_UNSPEC;
    ASSERT_EQ(::connect(fd.get(), &nothing, sizeof nothing), 0);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(4), 8080)), 0);
    EXPECT_EQ(peer_name(fd.get()), shown(family.server(4), 8080));
    EXPECT_EQ(own_name(fd.get()), shown(family.client, port_of(own_name(fd.get()))));
}

TEST_P(MeshTest, NoListenerOfTheAgentRefuses) {
    enroll(world.client, 0, 0);
    world.set_identity(*Ip::parse(family.server(3)), 777, WEFT_PEER_MESH);
    const auto plain = serve_tcp(3, 8080);
    const auto fd = client_socket(SOCK_STREAM);
    EXPECT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), ECONNREFUSED);
    EXPECT_EQ(world.drops(WEFT_REASON_MESH_NOT_READY, WEFT_EGRESS), 1U);
}

TEST_P(MeshTest, PolicyIsJudgedOnThePeerNotOnTheAgent) {
    const auto listener = dial_listener();
    world.set_identity(*Ip::parse(family.server(3)), 777, WEFT_PEER_MESH);
    world.set_endpoint(world.client, "10.77.0.1", "fd77::1", WEFT_ENDPOINT_ISOLATED_EGRESS, 5);
    enroll(world.client, 0, port_of(own_name(listener.get())));
    const auto refused = client_socket(SOCK_STREAM);
    EXPECT_EQ(connect_to(refused.get(), family.dial(family.server(3), 8080)), ECONNREFUSED);
    world.allow(5, WEFT_EGRESS, 777, IPPROTO_TCP, 8080);
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), 0);
    const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_EQ(send_text(fd.get(), "one"), 0);
    EXPECT_EQ(receive(accepted.get()).first, "one");
    world.deny(5, WEFT_EGRESS, 777);
    world.bump_revision();
    ASSERT_EQ(send_text(fd.get(), "two"), 0);
    pollfd silent{accepted.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&silent, 1, 300), 0) << "the established connection is cut, too";
}

TEST_P(MeshTest, TheApplicationSeesTheRealClientOfAnInnerConnection) {
    UniqueFd app;
    const bool mapped = family.mapped; // an IPv6 listener for both families
    world.server.run([&] { app = listen_on(mapped ? SockAddr("::", 8080) : SockAddr(family.server(2), 8080)); });
    UniqueFd inner;
    const auto peer = family.end("203.0.113.9", 40001, IPPROTO_TCP);
    world.server.run([&] {
        inner = open_socket(v6() ? AF_INET6 : AF_INET, SOCK_STREAM);
        const SockAddr own(family.server(2), 0);
        ASSERT_EQ(::bind(inner.get(), own.get(), own.size), 0);
        const weft_mesh_key key{world.server.cookie(),
                                family.end(family.server(2), port_of(own_name(inner.get())), IPPROTO_TCP), 0};
        put(world.bpf().maps.weft_mesh_peer, key, weft_mesh_peer{peer, 0});
        ASSERT_EQ(connect_to(inner.get(), SockAddr(family.server(2), 8080)), 0);
    });
    SockAddr from;
    const UniqueFd accepted(::accept4(app.get(), from.get(), &from.size, SOCK_CLOEXEC));
    ASSERT_TRUE(accepted.valid());
    if (!v6()) { // an IPv4 client cannot be shown on an IPv6 connection
        EXPECT_EQ(from.text(), "203.0.113.9:40001");
        EXPECT_EQ(peer_name(accepted.get()), "203.0.113.9:40001");
    }
    EXPECT_EQ(own_name(accepted.get()), shown(family.server(2), 8080));
    const auto events = world.events();
    const auto found = std::ranges::find(events, WEFT_EVENT_ACCEPT, &weft_event::kind);
    ASSERT_NE(found, events.end());
    EXPECT_EQ(std::memcmp(&found->remote, &peer, sizeof peer), 0);
    EXPECT_TRUE(found->flags & WEFT_EVENT_MUTUAL_TLS);
}

TEST_P(MeshTest, AnEnrolledPeerIsSteeredToTheAgentOnAnyPort) {
    enroll(world.server, 0, 0);
    const auto app = serve_tcp(2, 8080);
    const auto carrier = carrier_listener();
    steer();
    world.set_identity(*Ip::parse(family.client), 778, WEFT_PEER_DIALS);
    for (const std::uint16_t port : {std::uint16_t{8080}, std::uint16_t{9999}}) {
        const auto fd = client_socket(SOCK_STREAM);
        ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(2), port)), 0);
        SockAddr from;
        const UniqueFd accepted(::accept4(carrier.get(), from.get(), &from.size, SOCK_CLOEXEC));
        ASSERT_TRUE(accepted.valid());
        EXPECT_EQ(own_name(accepted.get()), shown(family.server(2), port)) << "the original destination";
        EXPECT_EQ(from.text(), own_name(fd.get()));
    }
    for (const auto& event : world.events()) {
        EXPECT_NE(event.kind, WEFT_EVENT_ACCEPT) << "the carrier is no flow of its own";
    }
}

TEST_P(MeshTest, OtherClientsReachTheApplicationUnlessStrict) {
    enroll(world.server, 0, 0);
    const auto app = serve_tcp(2, 8080);
    const auto carrier = carrier_listener();
    steer();
    // The two namespaces are two nodes here: without its entry the client is no workload of the server's node.
    const weft_addr client = Ip::parse(family.client)->raw();
    ASSERT_EQ(bpf_map_delete_elem(bpf_map__fd(world.bpf().maps.weft_local), &client), 0);
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(2), 8080)), 0);
    const UniqueFd accepted(::accept4(app.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(accepted.valid());

    enroll(world.server, WEFT_ENDPOINT_STRICT, 0);
    const auto refused = client_socket(SOCK_STREAM);
    EXPECT_EQ(connect_to(refused.get(), family.dial(family.server(2), 8080)), ECONNREFUSED);
    EXPECT_EQ(world.drops(WEFT_REASON_PLAINTEXT_REFUSED, WEFT_INGRESS), 1U);

    foreign_block(WEFT_PEER_DIALS);
    const auto foreign = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(foreign.get(), family.dial(family.server(2), 8080)), 0);
    const UniqueFd at_agent(::accept4(carrier.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_TRUE(at_agent.valid());
    world.set_identity(*Ip::parse(family.client), 778); // the cluster's own, in spite of the block around it
    const auto own = client_socket(SOCK_STREAM);
    EXPECT_EQ(connect_to(own.get(), family.dial(family.server(2), 8080)), ECONNREFUSED);

    world.set_identity(*Ip::parse(family.client), WEFT_IDENTITY_HOST, WEFT_PEER_LOCAL_NODE);
    const auto probe = client_socket(SOCK_STREAM);
    EXPECT_EQ(connect_to(probe.get(), family.dial(family.server(2), 8080)), 0) << "the node's own probes pass";
    EXPECT_EQ(world.drops(WEFT_REASON_PLAINTEXT_FROM_NODE, WEFT_INGRESS), 1U);
}

TEST_P(MeshTest, AnEnrolledPeerIsResetWhileTheAgentHasNoListener) {
    enroll(world.server, 0, 0);
    const auto app = serve_tcp(2, 8080);
    steer();
    world.set_identity(*Ip::parse(family.client), 778, WEFT_PEER_DIALS);
    const auto fd = client_socket(SOCK_STREAM);
    EXPECT_EQ(connect_to(fd.get(), family.dial(family.server(2), 8080)), ECONNREFUSED);
    EXPECT_EQ(world.drops(WEFT_REASON_MESH_NOT_READY, WEFT_INGRESS), 1U);
}

} // namespace
} // namespace weft::test
