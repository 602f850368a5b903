// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// From a real handshake to kernel records: keys, record numbers, tiers that meet, and what cannot be installed. In
// guests only.
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <future>

#include <gtest/gtest.h>
#include <linux/bpf.h>

#include "tests/net/ktls/kernel.hpp"
#include "tests/net/ktls/pattern.hpp"
#include "tests/net/ktls/pki.hpp"
#include "tests/net/ktls/relay.hpp"
#include "tests/net/ktls/userspace_loop.hpp"
#include "weft/ktls/install.hpp"

namespace weft::ktls {
namespace {

using test::End;
using test::Ending;
using test::read_pattern;
using test::Relay;
using test::secure;
using test::TcpPair;
using test::UserspaceLoop;
using test::write_pattern;
using test::Writer;

constexpr std::uint64_t kMiB = 1 << 20;

void install_or_fail(int fd, const Established& established) {
    const auto result = install(fd, established.traffic);
    ASSERT_TRUE(result.has_value()) << install_error_name(result.error().error);
}

TEST(KernelHandshake, KeysFitBothWaysFullAndResumed) {
    const test::Authority ca(true);
    for (const auto cipher : preferred_ciphers()) {
        ContextOptions only;
        only.ciphers = {cipher};
        const auto client = ca.context(test::leaf_of("web"), only);
        const auto server = ca.context(test::leaf_of("db"), only);
        for (const bool resumed : {false, true}) {
            const auto made = secure(client, server, "db");
            ASSERT_EQ(made.client->established().resumed, resumed);
            ASSERT_EQ(made.client->established().traffic.receive.sequence, 1U) << "the ticket counts";
            install_or_fail(made.sockets.client.get(), made.client->established());
            install_or_fail(made.sockets.server.get(), made.server->established());
            Writer out(made.sockets.client.get(), kMiB, {.tls = true});
            const auto there = read_pattern(made.sockets.server.get(), 0, {.tls = true});
            EXPECT_TRUE(there.intact(kMiB)) << cipher_name(cipher) << ' ' << there.text();
            Writer in(made.sockets.server.get(), kMiB, {.tls = true});
            const auto here = read_pattern(made.sockets.client.get(), 0, {.tls = true});
            EXPECT_TRUE(here.intact(kMiB)) << cipher_name(cipher) << ' ' << here.text();
        }
    }
}

// Rule: what follows the ticket stays in the socket. A server that speaks first sends before the client has keys.
TEST(KernelHandshake, DataThatCameBeforeTheKeysIsDecrypted) {
    const test::Authority ca;
    const auto context = ca.context();
    const TcpPair sockets;
    auto client = *Handshake::client(context, sockets.client.get(), {test::anybody, {}, {}});
    auto server = *Handshake::server(context, sockets.server.get(), {test::anybody});
    ASSERT_EQ(client.step(), Step::kWantRead);
    ASSERT_TRUE(test::eventually([&] {
        return server.step() == Step::kWantRead && client.step() == Step::kWantRead && server.step() == Step::kDone;
    }));
    install_or_fail(sockets.server.get(), server.established());
    ASSERT_EQ(write_pattern(sockets.server.get(), 40000, {.ending = Ending::kNone}), 0);
    int queued = 0;
    ASSERT_TRUE(
        test::eventually([&] { return ::ioctl(sockets.client.get(), FIONREAD, &queued) == 0 && queued > 40000; }));
    ASSERT_EQ(client.step(), Step::kDone);
    EXPECT_FALSE(client.established().left_over);
    install_or_fail(sockets.client.get(), client.established());
    const auto got = read_pattern(sockets.client.get(), 40000, {.tls = true, .until_end = false});
    EXPECT_TRUE(got.intact(40000)) << got.text();
}

// One node has kernel TLS and the other has not, in either role.
TEST(KernelHandshake, TheTwoTiersUnderstandEachOther) {
    const test::Authority ca;
    for (const bool kernel_is_client : {true, false}) {
        auto made = secure(ca.context(), ca.context());
        auto& kernel_socket = kernel_is_client ? made.sockets.client : made.sockets.server;
        auto& openssl_socket = kernel_is_client ? made.sockets.server : made.sockets.client;
        install_or_fail(kernel_socket.get(), (kernel_is_client ? made.client : made.server)->established());
        TcpPair left;
        TcpPair right;
        Relay relay;
        ASSERT_EQ(relay.carry(1, left.server, kernel_socket, WEFT_RELAY_PEER_TLS), WEFT_RELAY_OK);
        UserspaceLoop loop((kernel_is_client ? made.server : made.client)->release(), std::move(right.client),
                           std::move(openssl_socket), {});
        Writer out(left.client.get(), 8 * kMiB);
        Writer in(right.server.get(), 8 * kMiB);
        auto other = std::async(std::launch::async, [&] { return read_pattern(right.server.get(), 0); });
        const auto here = read_pattern(left.client.get(), 0);
        const auto there = other.get();
        EXPECT_TRUE(here.intact(8 * kMiB)) << here.text();
        EXPECT_TRUE(there.intact(8 * kMiB)) << there.text();
        EXPECT_EQ(relay.event(1).reason, WEFT_RELAY_REASON_FINISHED);
        EXPECT_EQ(loop.finish(), WEFT_RELAY_REASON_FINISHED);
    }
}

// As on two nodes: application, relay, wire, relay, application; and both relays lose children on the way.
TEST(KernelHandshake, TwoRelaysFaceToFace) {
    const test::Authority ca;
    auto made = secure(ca.context(), ca.context());
    install_or_fail(made.sockets.client.get(), made.client->established());
    install_or_fail(made.sockets.server.get(), made.server->established());
    TcpPair left;
    TcpPair right;
    Relay one;
    Relay two;
    ASSERT_EQ(one.carry(1, left.server, made.sockets.client, WEFT_RELAY_PEER_TLS), WEFT_RELAY_OK);
    ASSERT_EQ(two.carry(1, right.client, made.sockets.server, WEFT_RELAY_PEER_TLS), WEFT_RELAY_OK);
    constexpr std::uint64_t kSize = 32 * kMiB;
    Writer out(left.client.get(), kSize);
    Writer in(right.server.get(), kSize);
    auto other = std::async(std::launch::async, [&] { return read_pattern(right.server.get(), 0); });
    auto here = std::async(std::launch::async, [&] { return read_pattern(left.client.get(), 0); });
    for (int i = 0; i < 20; ++i) {
        one.kill_child();
        two.kill_child();
    }
    const auto a = here.get();
    const auto b = other.get();
    EXPECT_TRUE(a.intact(kSize)) << a.text();
    EXPECT_TRUE(b.intact(kSize)) << b.text();
    EXPECT_EQ(a.end, End::kFin);
    EXPECT_EQ(b.end, End::kFin);
}

// Rule: never a TLS socket in a sockmap, also not in somebody else's. The connection goes on in user space.
TEST(KernelHandshake, ASocketInASockmapGoesOnInUserSpace) {
    union bpf_attr create{};
    create.map_type = BPF_MAP_TYPE_SOCKMAP;
    create.key_size = 4;
    create.value_size = 4;
    create.max_entries = 4;
    const UniqueFd map(static_cast<int>(::syscall(SYS_bpf, BPF_MAP_CREATE, &create, sizeof create)));
    ASSERT_TRUE(map.valid()) << std::strerror(errno);
    const test::Authority ca;
    auto made = secure(ca.context(), ca.context());
    const std::uint32_t key = 0;
    const int value = made.sockets.client.get();
    union bpf_attr update{};
    update.map_fd = static_cast<std::uint32_t>(map.get());
    update.key = reinterpret_cast<std::uint64_t>(&key);
    update.value = reinterpret_cast<std::uint64_t>(&value);
    ASSERT_EQ(::syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &update, sizeof update), 0) << std::strerror(errno);
    const auto result = install(made.sockets.client.get(), made.client->established().traffic);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().error, InstallError::kInSockmap);
    EXPECT_TRUE(result.error().untouched);
    TcpPair left;
    TcpPair right;
    UserspaceLoop one(made.client->release(), std::move(left.server), std::move(made.sockets.client), {});
    UserspaceLoop two(made.server->release(), std::move(right.client), std::move(made.sockets.server), {});
    Writer out(left.client.get(), kMiB);
    const auto got = read_pattern(right.server.get(), 0);
    EXPECT_TRUE(got.intact(kMiB)) << got.text();
}

} // namespace
} // namespace weft::ktls
