// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A pod with a packet socket passes by every cgroup hook: is what it sends judged on the wire, and are the packets of
// ordinary sockets left in peace there? The server's namespace plays the node: it holds the other end of the veth pair.
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <numeric>
#include <span>

#include "agent/bpf/veth_guard.hpp"
#include "tests/net/datapath/family.hpp"

namespace weft::test {
namespace {

constexpr std::uint64_t kPolicy = 4242;
constexpr std::uint64_t kPeer = 5000;
constexpr std::uint16_t kPort = 5353;

using Bytes = std::vector<std::uint8_t>;

void put16(Bytes& to, std::size_t value) {
    to.push_back(static_cast<std::uint8_t>(value >> 8));
    to.push_back(static_cast<std::uint8_t>(value));
}

// RFC 1071
std::uint16_t checksum(const Bytes& bytes) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return static_cast<std::uint16_t>(~sum);
}

Bytes address_bytes(const Ip& ip) {
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&ip.raw());
    return ip.is_v4() ? Bytes(raw + 12, raw + 16) : Bytes(raw, raw + 16);
}

void append(Bytes& to, const Bytes& what) {
    to.insert(to.end(), what.begin(), what.end());
}

/// An IP packet around `transport`, whose checksum goes to byte `at`.
Bytes ip_packet(const Ip& from, const Ip& to, std::uint8_t protocol, Bytes transport, std::size_t at) {
    Bytes pseudo = address_bytes(from);
    append(pseudo, address_bytes(to));
    put16(pseudo, protocol);
    put16(pseudo, transport.size());
    append(pseudo, transport);
    const std::uint16_t sum = checksum(pseudo);
    transport[at] = static_cast<std::uint8_t>(sum >> 8);
    transport[at + 1] = static_cast<std::uint8_t>(sum);
    Bytes packet;
    if (from.is_v4()) {
        packet = {0x45, 0};
        put16(packet, 20 + transport.size());
        append(packet, {0, 0, 0, 0, 64, protocol, 0, 0});
        append(packet, address_bytes(from));
        append(packet, address_bytes(to));
        const std::uint16_t own = checksum(packet);
        packet[10] = static_cast<std::uint8_t>(own >> 8);
        packet[11] = static_cast<std::uint8_t>(own);
    } else {
        packet = {0x60, 0, 0, 0};
        put16(packet, transport.size());
        append(packet, {protocol, 64});
        append(packet, address_bytes(from));
        append(packet, address_bytes(to));
    }
    append(packet, transport);
    return packet;
}

Bytes datagram(const Ip& from, const Ip& to, std::uint16_t port, const std::string& text) {
    Bytes udp;
    put16(udp, 40000);
    put16(udp, port);
    put16(udp, 8 + text.size());
    append(udp, {0, 0});
    udp.insert(udp.end(), text.begin(), text.end());
    return ip_packet(from, to, IPPROTO_UDP, udp, 6);
}

Bytes syn(const Ip& from, const Ip& to, std::uint16_t port) {
    Bytes tcp;
    put16(tcp, 40000);
    put16(tcp, port);
    append(tcp, {0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0});
    return ip_packet(from, to, IPPROTO_TCP, tcp, 16);
}

class VethTest : public DatapathTest {
protected:
    void SetUp() override {
        world.server.run([&] {
            const UniqueFd any(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            ifreq request{};
            std::strcpy(request.ifr_name, "veth0");
            ASSERT_EQ(::ioctl(any.get(), SIOCGIFHWADDR, &request), 0);
            std::memcpy(server_mac, request.ifr_hwaddr.sa_data, ETH_ALEN);
        });
        udp = serve_udp(3, kPort);
    }

    bpf::VethStats guard(bpf::VethGuard& with, bool client = true) {
        bpf::VethStats stats;
        std::map<std::uint64_t, std::string> pods;
        if (client) {
            pods.emplace(world.client.cookie(), world.client.path());
        }
        world.server.run([&] {
            stats =
                with.apply(bpf_program__fd(world.bpf().progs.weft_wire), bpf_map__fd(world.bpf().maps.weft_veth), pods);
        });
        for (const auto& error : stats.errors) {
            ADD_FAILURE() << error.message();
        }
        return stats;
    }
    void set_client(std::uint32_t flags) {
        world.set_endpoint(world.client, "10.77.0.1", "fd77::1", flags, kPolicy);
        world.bump_revision();
    }
    /// Sends one packet past all sockets.
    void inject(const Bytes& packet) {
        world.client.run([&] {
            const UniqueFd raw(::socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
            sockaddr_ll to{};
            to.sll_family = AF_PACKET;
            to.sll_protocol = htons(packet[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
            to.sll_ifindex = static_cast<int>(::if_nametoindex("veth0"));
            to.sll_halen = ETH_ALEN;
            std::memcpy(to.sll_addr, server_mac, ETH_ALEN);
            ASSERT_EQ(
                ::sendto(raw.get(), packet.data(), packet.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to),
                static_cast<ssize_t>(packet.size()));
        });
    }
    bool arrives(const std::string& from, std::uint16_t port = kPort) {
        inject(datagram(*Ip::parse(from), *Ip::parse(family.server(3)), port, "past"));
        pollfd readable{udp.get(), POLLIN, 0};
        return ::poll(&readable, 1, 200) == 1 && receive(udp.get()).first == "past";
    }
    [[nodiscard]] std::string foreign() const { return family.domain() == AF_INET ? "10.77.0.99" : "fd77::99"; }
    std::uint64_t dropped(std::uint32_t reason) { return world.drops(reason, WEFT_EGRESS); }

    unsigned char server_mac[ETH_ALEN] = {};
    UniqueFd udp;
};

// Packets look the same whether an application says 10.0.0.1 or ::ffff:10.0.0.1.
INSTANTIATE_TEST_SUITE_P(Families, VethTest, ::testing::ValuesIn(std::span(kFamilies).first(2)), family_name);

TEST_P(VethTest, AForgedSourceIsDroppedOnTheWire) {
    ASSERT_TRUE(arrives(foreign())) << "without the program a packet socket may forge";
    bpf::VethGuard veths;
    EXPECT_EQ(guard(veths).attached, 1U);
    EXPECT_FALSE(arrives(foreign()));
    EXPECT_EQ(dropped(WEFT_REASON_SPOOFED_SOURCE), 1U);
    EXPECT_TRUE(arrives(family.client));
    set_client(WEFT_ENDPOINT_ANY_SOURCE);
    EXPECT_TRUE(arrives(foreign())) << "annotated";
}

TEST_P(VethTest, EgressPolicyIsJudgedOnTheWire) {
    bpf::VethGuard veths;
    (void)guard(veths);
    set_client(WEFT_ENDPOINT_ISOLATED_EGRESS);
    EXPECT_FALSE(arrives(family.client));
    EXPECT_EQ(dropped(WEFT_REASON_POLICY_DENIED), 1U);
    inject(syn(*Ip::parse(family.client), *Ip::parse(family.server(3)), 8080));
    EXPECT_EQ(dropped(WEFT_REASON_POLICY_DENIED), 2U) << "a SYN without a socket";
    world.set_identity(*Ip::parse(family.server(3)), kPeer);
    world.allow(kPolicy, WEFT_EGRESS, kPeer, IPPROTO_UDP, kPort);
    EXPECT_TRUE(arrives(family.client)) << "allowed by port";
    EXPECT_FALSE(arrives(family.client, kPort + 1));
    EXPECT_EQ(dropped(WEFT_REASON_POLICY_DENIED), 3U);
}

TEST_P(VethTest, RepliesOfAnIsolatedPodPass) {
    bpf::VethGuard veths;
    (void)guard(veths);
    set_client(WEFT_ENDPOINT_ISOLATED_EGRESS);
    UniqueFd service;
    UniqueFd listener;
    world.client.run([&] {
        service = bound_datagram(SockAddr(family.client, 6000));
        listener = listen_on(SockAddr(family.client, 6001));
    });
    ASSERT_EQ(send_text(udp.get(), "question", SockAddr(family.client, 6000)), 0);
    EXPECT_EQ(receive(service.get()).first, "question");
    EXPECT_EQ(send_text(service.get(), "answer", SockAddr(family.server(3), kPort)), 0);
    EXPECT_EQ(receive(udp.get()).first, "answer");
    UniqueFd caller;
    world.server.run([&] { caller = open_socket(family.domain(), SOCK_STREAM); });
    EXPECT_EQ(connect_to(caller.get(), SockAddr(family.client, 6001)), 0);
    EXPECT_EQ(dropped(WEFT_REASON_POLICY_DENIED), 0U);
}

TEST_P(VethTest, AllowedConnectionsAndLargeDatagramsPass) {
    bpf::VethGuard veths;
    (void)guard(veths);
    set_client(WEFT_ENDPOINT_ISOLATED_EGRESS);
    world.set_identity(*Ip::parse(family.server(3)), kPeer);
    world.allow(kPolicy, WEFT_EGRESS, kPeer, IPPROTO_TCP, 0);
    const auto listener = serve_tcp(3, 8080);
    EXPECT_EQ(connect_to(client_socket(SOCK_STREAM).get(), SockAddr(family.server(3), 8080)), 0);
    const std::string large(2000, 'x'); // two fragments
    EXPECT_EQ(send_text(client_socket(SOCK_DGRAM).get(), large, SockAddr(family.server(3), kPort)), 0);
    EXPECT_EQ(receive(udp.get()).first, large);
    EXPECT_EQ(dropped(WEFT_REASON_POLICY_DENIED), 0U);
    EXPECT_EQ(dropped(WEFT_REASON_UNPARSABLE), 0U);
}

TEST_P(VethTest, AnotherAgentTakesOverAndLetsGo) {
    {
        bpf::VethGuard first;
        EXPECT_EQ(guard(first).attached, 1U);
        EXPECT_EQ(guard(first).attached, 0U);
    }
    EXPECT_FALSE(arrives(foreign())) << "the program stays when the agent ends";
    bpf::VethGuard second;
    EXPECT_EQ(guard(second).attached, 0U) << "it is there already";
    EXPECT_FALSE(arrives(foreign()));
    EXPECT_EQ(guard(second, false).detached, 1U);
    EXPECT_TRUE(arrives(foreign()));
    EXPECT_EQ(guard(second).attached, 1U);
    world.server.run([&] { EXPECT_TRUE(bpf::unguard_all(bpf_map__fd(world.bpf().maps.weft_veth)).has_value()); });
    EXPECT_TRUE(arrives(foreign())) << "uninstalled";
}

TEST_P(VethTest, UninstallingLeavesTheHookOnlyToOthers) {
    const int devices = bpf_map__fd(world.bpf().maps.weft_veth);
    bpf::VethGuard veths;
    (void)guard(veths);
    std::uint32_t device = 0;
    ASSERT_EQ(bpf_map_get_next_key(devices, nullptr, &device), 0);
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = static_cast<int>(device);
    hook.attach_point = BPF_TC_EGRESS;
    const auto has_hook = [&] {
        int made = 0;
        world.server.run([&] { made = bpf_tc_hook_create(&hook); });
        return made == -EEXIST;
    };
    EXPECT_TRUE(has_hook());
    bpf_tc_opts other{};
    other.sz = sizeof other;
    other.prog_fd = bpf_program__fd(world.bpf().progs.weft_wire);
    world.server.run([&] {
        ASSERT_EQ(bpf_tc_attach(&hook, &other), 0);
        EXPECT_TRUE(bpf::unguard_all(devices).has_value());
    });
    EXPECT_TRUE(has_hook()) << "somebody else uses it";
    other.prog_fd = 0;
    other.prog_id = 0;
    world.server.run([&] { ASSERT_EQ(bpf_tc_detach(&hook, &other), 0); });
    veths.distrust();
    (void)guard(veths);
    world.server.run([&] { EXPECT_TRUE(bpf::unguard_all(devices).has_value()); });
    EXPECT_FALSE(has_hook());
}

TEST_P(VethTest, AFilterThatSomebodyRemovedComesBack) {
    bpf::VethGuard veths;
    (void)guard(veths);
    world.server.run([&] { EXPECT_TRUE(bpf::unguard_all(bpf_map__fd(world.bpf().maps.weft_veth)).has_value()); });
    ASSERT_TRUE(arrives(foreign()));
    veths.distrust();
    EXPECT_EQ(guard(veths).attached, 1U);
    EXPECT_FALSE(arrives(foreign()));
}

TEST_P(VethTest, APodWithoutAVethIsNamed) {
    const Netns lonely;
    bpf::VethGuard veths;
    bpf::VethStats stats;
    world.server.run([&] {
        stats = veths.apply(bpf_program__fd(world.bpf().progs.weft_wire), bpf_map__fd(world.bpf().maps.weft_veth),
                            {{lonely.cookie(), lonely.path()}});
    });
    EXPECT_TRUE(stats.errors.empty());
    EXPECT_EQ(stats.unguarded, std::vector{lonely.path()});
}

} // namespace
} // namespace weft::test
