// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Services through real sockets: what the application sees, and which backend it gets.
#include <fcntl.h>

#include <map>
#include <set>

#include "tests/net/datapath/family.hpp"

#ifndef MSG_FASTOPEN
#define MSG_FASTOPEN 0x20000000
#endif

namespace weft::test {
namespace {

INSTANTIATE_TEST_SUITE_P(Families, DatapathTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(DatapathTest, TcpReachesABackendAndSeesTheService) {
    const auto listener = serve_tcp(3, 8080);
    world.set_service(vip(80, IPPROTO_TCP), {backend(3, 8080, IPPROTO_TCP)});
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 80)), 0);
    EXPECT_EQ(peer_name(fd.get()), shown(family.vip, 80));
    EXPECT_EQ(own_name(fd.get()).rfind(shown(family.client, 0).substr(0, shown(family.client, 0).size() - 1), 0), 0U);
    SockAddr from;
    const UniqueFd accepted(::accept4(listener.get(), from.get(), &from.size, SOCK_CLOEXEC));
    ASSERT_TRUE(accepted.valid());
    EXPECT_EQ(from.text(), own_name(fd.get())) << "the server sees the client's own address";
    ASSERT_EQ(send_text(fd.get(), "hello"), 0);
    EXPECT_EQ(receive(accepted.get()).first, "hello");
}

TEST_P(DatapathTest, NonBlockingConnectIsTranslated) {
    const auto listener = serve_tcp(3, 8080);
    world.set_service(vip(80, IPPROTO_TCP), {backend(3, 8080, IPPROTO_TCP)});
    const auto fd = client_socket(SOCK_STREAM);
    ASSERT_EQ(::fcntl(fd.get(), F_SETFL, O_NONBLOCK), 0);
    EXPECT_EQ(connect_to(fd.get(), family.dial(family.vip, 80)), EINPROGRESS);
    pollfd ready{fd.get(), POLLOUT, 0};
    ASSERT_EQ(::poll(&ready, 1, 2000), 1);
    int error = -1;
    socklen_t size = sizeof error;
    ASSERT_EQ(::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size), 0);
    EXPECT_EQ(error, 0);
    EXPECT_EQ(peer_name(fd.get()), shown(family.vip, 80));
}

TEST_P(DatapathTest, TcpFastOpenIsTranslated) {
    const auto listener = serve_tcp(3, 8080);
    world.set_service(vip(80, IPPROTO_TCP), {backend(3, 8080, IPPROTO_TCP)});
    const auto fd = client_socket(SOCK_STREAM);
    const SockAddr to = family.dial(family.vip, 80);
    ASSERT_EQ(::sendto(fd.get(), "early", 5, MSG_FASTOPEN, to.get(), to.size), 5) << std::strerror(errno);
    const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    ASSERT_TRUE(accepted.valid());
    EXPECT_EQ(receive(accepted.get()).first, "early");
    EXPECT_EQ(peer_name(fd.get()), shown(family.vip, 80));
}

TEST_P(DatapathTest, AnotherPortOfTheServiceAddressIsNotTheService) {
    world.set_service(vip(80, IPPROTO_TCP), {backend(3, 8080, IPPROTO_TCP)});
    const auto listener = serve_tcp(3, 8080);
    const auto fd = client_socket(SOCK_STREAM, 1);
    EXPECT_NE(connect_to(fd.get(), family.dial(family.vip, 81)), 0);
}

TEST_P(DatapathTest, NoBackendRefusesAtOnceForTcpAndUdp) {
    for (const auto& [type, proto] : {std::pair{SOCK_STREAM, IPPROTO_TCP}, std::pair{SOCK_DGRAM, IPPROTO_UDP}}) {
        world.set_service(vip(80, static_cast<std::uint8_t>(proto)), {});
        const auto fd = client_socket(type);
        EXPECT_EQ(connect_to(fd.get(), family.dial(family.vip, 80)), ECONNREFUSED);
    }
    const auto unconnected = client_socket(SOCK_DGRAM);
    EXPECT_EQ(send_text(unconnected.get(), "x", family.dial(family.vip, 80)), ECONNREFUSED);
    EXPECT_EQ(world.drops(WEFT_REASON_NO_BACKEND, WEFT_EGRESS), 3U);
    const auto events = world.events();
    ASSERT_FALSE(events.empty());
    EXPECT_EQ(events.back().kind, WEFT_EVENT_NO_BACKEND);
}

TEST_P(DatapathTest, ASocketMayConnectTwice) {
    const auto one = serve_udp(3, 5301);
    const auto two = serve_udp(4, 5302);
    world.set_service(vip(53, IPPROTO_UDP), {backend(3, 5301, IPPROTO_UDP)});
    world.set_service(vip(54, IPPROTO_UDP), {backend(4, 5302, IPPROTO_UDP)});
    const auto fd = client_socket(SOCK_DGRAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0);
    ASSERT_EQ(send_text(fd.get(), "first"), 0);
    EXPECT_EQ(receive(one.get()).first, "first");
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 54)), 0);
    EXPECT_EQ(peer_name(fd.get()), shown(family.vip, 54));
    ASSERT_EQ(send_text(fd.get(), "second"), 0);
    EXPECT_EQ(receive(two.get()).first, "second");
    EXPECT_EQ(world.connections(backend(3, 5301, IPPROTO_UDP)), 0) << "the first connection no longer counts";
    EXPECT_EQ(world.connections(backend(4, 5302, IPPROTO_UDP)), 1);
}

TEST_P(DatapathTest, AListenerThatOnceConnectedIsCountedNoMore) {
    // What a listener accepts starts with a copy of its state: a connection that it once made must not be in there.
    world.set_service(vip(80, IPPROTO_TCP), {backend(9, 1, IPPROTO_TCP)});
    UniqueFd listener;
    world.server.run([&] {
        listener = open_socket(SockAddr(family.server(3), 1).family(), SOCK_STREAM);
        const SockAddr at(family.server(3), 8080);
        ASSERT_EQ(::bind(listener.get(), at.get(), at.size), 0);
        EXPECT_EQ(connect_to(listener.get(), SockAddr(family.vip, 80)), ECONNREFUSED)
            << "nobody listens at the backend";
        const sockaddr unspecified{AF_UNSPEC, {}};
        (void)::connect(listener.get(), &unspecified, sizeof unspecified); // back to the start, whatever state it is in
        ASSERT_EQ(::listen(listener.get(), 8), 0);
    });
    for (int i = 0; i < 3; ++i) {
        const auto fd = client_socket(SOCK_STREAM);
        ASSERT_EQ(connect_to(fd.get(), family.dial(family.server(3), 8080)), 0);
        const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        ASSERT_TRUE(accepted.valid());
    }
    listener.reset();
    EXPECT_EQ(world.connections(backend(9, 1, IPPROTO_TCP)), 0);
}

TEST_P(DatapathTest, ConnectedUdpSeesTheServiceAsSender) {
    const auto server = serve_udp(3, 5353);
    world.set_service(vip(53, IPPROTO_UDP), {backend(3, 5353, IPPROTO_UDP)});
    const auto fd = client_socket(SOCK_DGRAM);
    ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0);
    ASSERT_EQ(send_text(fd.get(), "ask"), 0);
    SockAddr from;
    char buffer[16];
    ASSERT_EQ(::recvfrom(server.get(), buffer, sizeof buffer, 0, from.get(), &from.size), 3);
    ASSERT_EQ(send_text(server.get(), "answer", from), 0);
    const auto [text, sender] = receive(fd.get());
    EXPECT_EQ(text, "answer");
    EXPECT_EQ(sender, shown(family.vip, 53));
}

TEST_P(DatapathTest, UnconnectedUdpIsTranslatedBothWaysAndKeepsItsBackend) {
    std::vector<UniqueFd> servers;
    std::vector<weft_addr_port> backends;
    for (int n = 3; n <= 6; ++n) {
        servers.push_back(serve_udp(n, 5353));
        backends.push_back(backend(n, 5353, IPPROTO_UDP));
    }
    world.set_service(vip(53, IPPROTO_UDP), backends);
    const auto fd = client_socket(SOCK_DGRAM);
    std::set<int> used;
    for (int i = 0; i < 10; ++i) {
        ASSERT_EQ(send_text(fd.get(), "ask", family.dial(family.vip, 53)), 0);
        std::vector<pollfd> ready;
        for (const auto& server : servers) {
            ready.push_back({server.get(), POLLIN, 0});
        }
        ASSERT_EQ(::poll(ready.data(), ready.size(), 2000), 1);
        for (std::size_t s = 0; s < ready.size(); ++s) {
            if (ready[s].revents != 0) {
                used.insert(static_cast<int>(s));
                SockAddr from;
                char buffer[16];
                ASSERT_EQ(::recvfrom(ready[s].fd, buffer, sizeof buffer, 0, from.get(), &from.size), 3);
                ASSERT_EQ(send_text(ready[s].fd, "answer", from), 0);
            }
        }
        EXPECT_EQ(receive(fd.get()).second, shown(family.vip, 53));
    }
    EXPECT_EQ(used.size(), 1U) << "one socket stays with one backend";
    // The backend leaves the Service: the next datagram goes to another one.
    const int gone = *used.begin();
    world.remove_member(vip(53, IPPROTO_UDP), backends[static_cast<std::size_t>(gone)]);
    backends.erase(backends.begin() + gone);
    world.set_service(vip(53, IPPROTO_UDP), backends);
    ASSERT_EQ(send_text(fd.get(), "ask", family.dial(family.vip, 53)), 0);
    pollfd old{servers[static_cast<std::size_t>(gone)].get(), POLLIN, 0};
    EXPECT_EQ(::poll(&old, 1, 100), 0) << "the backend that left got another datagram";
}

TEST_P(DatapathTest, NodePortMatchesNodeAddressesOnly) {
    const auto listener = serve_tcp(3, 8080);
    const weft_addr_port wildcard = family.end(family.vip[0] == '1' ? "0.0.0.0" : "::", 30080, IPPROTO_TCP);
    world.set_service(wildcard, {backend(3, 8080, IPPROTO_TCP)}, WEFT_ALGORITHM_RANDOM, WEFT_SERVICE_NODE_PORT);
    const auto before = client_socket(SOCK_STREAM, 1);
    EXPECT_NE(connect_to(before.get(), family.dial(family.server(9), 30080)), 0) << "not a node address yet";
    const std::uint32_t one = 1;
    const weft_addr node = Ip::parse(family.server(9))->raw();
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(world.bpf().maps.weft_node_addr), &node, &one, BPF_ANY), 0);
    const auto fd = client_socket(SOCK_STREAM);
    EXPECT_EQ(connect_to(fd.get(), family.dial(family.server(9), 30080)), 0);
    EXPECT_EQ(peer_name(fd.get()), shown(family.server(9), 30080));
}

class SelectionTest : public DatapathTest {
protected:
    /// Connects `times` and returns how often each backend was chosen, asking the kernel which address it really
    /// dialled.
    std::map<int, int> spread(int times, int backends, std::uint16_t algorithm, std::uint32_t affinity = 0,
                              const std::vector<std::uint32_t>& weights = {}, std::vector<UniqueFd>* keep = nullptr) {
        std::vector<UniqueFd> servers;
        std::vector<weft_addr_port> ends;
        for (int n = 0; n < backends; ++n) {
            ends.push_back(backend(3 + n, 5353, IPPROTO_UDP));
        }
        world.set_service(vip(53, IPPROTO_UDP), ends, algorithm, 0, affinity, weights);
        std::map<int, int> counts;
        for (int i = 0; i < times; ++i) {
            auto fd = client_socket(SOCK_DGRAM);
            EXPECT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0);
            for (int n = 0; n < backends; ++n) {
                const auto open = world.connections(ends[static_cast<std::size_t>(n)]);
                if (keep == nullptr && open == 1) {
                    ++counts[n];
                } else if (keep != nullptr) {
                    counts[n] = static_cast<int>(open);
                }
            }
            if (keep != nullptr) {
                keep->push_back(std::move(fd));
            }
        }
        return counts;
    }
};

INSTANTIATE_TEST_SUITE_P(Families, SelectionTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(SelectionTest, RandomReachesEveryBackendAboutEqually) {
    const auto counts = spread(400, 4, WEFT_ALGORITHM_RANDOM);
    ASSERT_EQ(counts.size(), 4U);
    for (const auto& [n, count] : counts) {
        EXPECT_NEAR(count, 100, 52) << n; // six standard deviations of a binomial(400, 1/4)
    }
}

TEST_P(SelectionTest, RoundRobinIsExact) {
    const auto counts = spread(40, 4, WEFT_ALGORITHM_ROUND_ROBIN);
    for (int n = 0; n < 4; ++n) {
        EXPECT_EQ(counts.at(n), 10);
    }
}

TEST_P(SelectionTest, MaglevSendsOneClientToOneBackend) {
    const auto counts = spread(20, 4, WEFT_ALGORITHM_MAGLEV);
    EXPECT_EQ(counts.size(), 1U);
}

TEST_P(SelectionTest, LeastConnectionsLevelsOpenConnections) {
    std::vector<UniqueFd> open;
    const auto counts = spread(100, 4, WEFT_ALGORITHM_LEAST_CONNECTIONS, 0, {}, &open);
    for (int n = 0; n < 4; ++n) {
        EXPECT_NEAR(counts.at(n), 25, 4);
    }
    open.clear();
    for (int n = 0; n < 4; ++n) {
        EXPECT_EQ(world.connections(backend(3 + n, 5353, IPPROTO_UDP)), 0) << "counts are exact: every close is seen";
    }
}

TEST_P(SelectionTest, LeastConnectionsHonoursWeights) {
    std::vector<UniqueFd> open;
    const auto counts = spread(120, 2, WEFT_ALGORITHM_LEAST_CONNECTIONS, 0, {3, 1}, &open);
    EXPECT_NEAR(counts.at(0), 90, 6);
}

TEST_P(SelectionTest, ClientIpAffinityStaysAndExpires) {
    EXPECT_EQ(spread(20, 4, WEFT_ALGORITHM_RANDOM, 3600).size(), 1U);
}

TEST_P(SelectionTest, AffinityKeepsPodsBehindOneAddressApart) {
    // Two workloads, one service: their choices are remembered apart, so both together use several backends.
    std::vector<weft_addr_port> ends;
    for (int n = 3; n <= 9; ++n) {
        ends.push_back(backend(n, 5353, IPPROTO_UDP));
    }
    world.set_service(vip(53, IPPROTO_UDP), ends, WEFT_ALGORITHM_RANDOM, 0, 3600);
    std::set<std::uint64_t> clients;
    for (const Netns* netns : {&world.client, &world.server}) {
        UniqueFd fd;
        netns->run([&] { fd = open_socket(family.domain(), SOCK_DGRAM); });
        ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0);
        weft_affinity_key key{service_id_of(vip(53, IPPROTO_UDP)), netns->cookie()};
        weft_affinity value{};
        ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_affinity), &key, &value), 0);
        clients.insert(key.client);
    }
    EXPECT_EQ(clients.size(), 2U);
}

TEST_P(SelectionTest, AMissingSlotIsCountedAndRefused) {
    world.set_service(vip(53, IPPROTO_UDP), {backend(3, 5353, IPPROTO_UDP)});
    weft_service service{};
    const auto key = vip(53, IPPROTO_UDP);
    ASSERT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_service), &key, &service), 0);
    service.set = 7; // a set that does not exist, as if its removal had overtaken the switch
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(world.bpf().maps.weft_service), &key, &service, BPF_ANY), 0);
    const auto fd = client_socket(SOCK_DGRAM);
    EXPECT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), ECONNREFUSED);
    EXPECT_EQ(world.drops(WEFT_REASON_SLOT_MISSING, WEFT_EGRESS), 1U);
}

} // namespace
} // namespace weft::test
