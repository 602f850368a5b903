// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// When a backend disappears, does an application with a connected UDP socket learn of it, and does it reach a living
// backend when it connects anew? By bpf_sock_destroy and by netlink, in namespaces that nobody named.
#include <bpf/libbpf.h>
#include <net/if.h>

#include <chrono>

#include "agent/bpf/conn_reader.hpp"
#include "agent/bpf/udp_reaper.hpp"
#include "tests/net/datapath/family.hpp"

namespace weft::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint16_t kPort = 5353;

class UdpReaperTest : public ::testing::TestWithParam<std::tuple<Family, bool>> {
protected:
    void SetUp() override {
        if (by_bpf && std::string(reaper.mechanism()) != "bpf_sock_destroy") {
            GTEST_SKIP() << "this kernel cannot: " << reaper.reason();
        }
        world.server.run([&] {
            gone = bound_datagram(SockAddr(family.server(3), kPort));
            alive = bound_datagram(SockAddr(family.server(4), kPort));
        });
        world.set_service(vip(), {backend(3)});
    }

    [[nodiscard]] weft_addr_port vip() const { return family.end(family.vip, 53, IPPROTO_UDP); }
    [[nodiscard]] weft_addr_port backend(int n) const { return family.end(family.server(n), kPort, IPPROTO_UDP); }

    /// A socket that is connected to the Service and has sent something.
    UniqueFd connected(const Netns& netns, const char* device = nullptr) {
        UniqueFd fd;
        netns.run([&] {
            fd = open_socket(family.domain(), SOCK_DGRAM);
            if (device != nullptr) {
                ASSERT_EQ(::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, device, IFNAMSIZ), 0);
            }
            ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0);
            ASSERT_EQ(send_text(fd.get(), "before"), 0);
        });
        EXPECT_EQ(receive(gone.get()).first, "before");
        return fd;
    }
    /// What the agent does once the maps are written.
    void replace_backend() {
        world.set_service(vip(), {backend(4)});
        world.remove_member(vip(), backend(3));
    }
    std::vector<weft_conn> stale() {
        const auto connections = bpf::read_connections(bpf_program__fd(world.bpf().progs.weft_conn_iter),
                                                       bpf_map__fd(world.bpf().maps.weft_socket));
        EXPECT_TRUE(connections.has_value());
        return bpf::stale_udp_sockets(*connections, std::vector{bpf::StaleBackend{service_id_of(vip()), backend(3)}});
    }
    /// The application's view: an error, then a new connection to the backend that is left.
    void expect_recovers(const Netns& netns, const UniqueFd& fd, const char* what) {
        pollfd event{fd.get(), POLLIN, 0};
        EXPECT_EQ(::poll(&event, 1, 1000), 1) << what;
        EXPECT_EQ(receive(fd.get()).first, "!ECONNABORTED") << what;
        EXPECT_NE(send_text(fd.get(), "void"), 0) << what << ": it is connected no more";
        netns.run([&] {
            EXPECT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0) << what;
            EXPECT_EQ(send_text(fd.get(), "after"), 0) << what;
        });
        EXPECT_EQ(receive(alive.get()).first, "after") << what;
    }

    const Family family = std::get<0>(GetParam());
    const bool by_bpf = std::get<1>(GetParam());
    bpf::UdpReaper reaper = by_bpf ? bpf::UdpReaper::open() : bpf::UdpReaper::by_netlink();
    World world;
    UniqueFd gone;
    UniqueFd alive;
};

INSTANTIATE_TEST_SUITE_P(Families, UdpReaperTest, ::testing::Combine(::testing::ValuesIn(kFamilies), ::testing::Bool()),
                         [](const auto& chosen) {
                             return std::string(std::get<0>(chosen.param).name) +
                                    (std::get<1>(chosen.param) ? "_bpf" : "_netlink");
                         });

TEST_P(UdpReaperTest, EverySocketOfEveryNamespaceRecoversWithinASecond) {
    const auto plain = connected(world.client);
    const auto bound = connected(world.client, "veth0");
    const auto remote = connected(world.server);
    UniqueFd other;
    world.client.run([&] {
        other = open_socket(family.domain(), SOCK_DGRAM);
        ASSERT_EQ(connect_to(other.get(), family.dial(family.server(3), kPort)), 0);
    });
    const auto began = Clock::now();
    replace_backend();
    const auto sockets = stale();
    ASSERT_EQ(sockets.size(), 3U);
    const auto stats = reaper.reap(sockets, {}); // no path is known: all namespaces have to be found
    for (const auto& error : stats.errors) {
        ADD_FAILURE() << error.message();
    }
    EXPECT_EQ(stats.destroyed, 3U);
    expect_recovers(world.client, plain, "plain");
    expect_recovers(world.client, bound, "bound to a device");
    expect_recovers(world.server, remote, "in another namespace");
    EXPECT_LT(Clock::now() - began, std::chrono::seconds(1));
    EXPECT_EQ(send_text(other.get(), "still here"), 0) << "it never asked for the Service";
    EXPECT_EQ(receive(gone.get()).first, "still here");
}

TEST_P(UdpReaperTest, ASocketThatConnectedAnewIsSpared) {
    const auto fd = connected(world.client);
    replace_backend();
    const auto sockets = stale();
    ASSERT_EQ(sockets.size(), 1U);
    world.client.run([&] { ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0); });
    const auto stats = reaper.reap(sockets, {{world.client.cookie(), world.client.path()}});
    EXPECT_TRUE(stats.errors.empty());
    EXPECT_EQ(stats.destroyed, 0U);
    EXPECT_EQ(stats.already_gone, 1U);
    EXPECT_EQ(send_text(fd.get(), "kept"), 0);
    EXPECT_EQ(receive(alive.get()).first, "kept");
}

TEST_P(UdpReaperTest, ASocketOfAVanishedNamespaceIsReported) {
    const auto fd = connected(world.client);
    replace_backend();
    auto sockets = stale();
    ASSERT_EQ(sockets.size(), 1U);
    sockets.front().socket.netns = ~0ULL; // the kernel counts from 1
    const auto stats = reaper.reap(sockets, {});
    ASSERT_EQ(stats.errors.size(), 1U);
    EXPECT_EQ(stats.errors.front().code(), ENOENT);
}

} // namespace
} // namespace weft::test
