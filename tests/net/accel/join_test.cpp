// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which connections are joined, which never, and what takes one back to TCP?
#include <netinet/tcp.h>

#include <algorithm>

#include "agent/bpf/conn_reader.hpp"
#include "tests/net/accel/joined.hpp"

namespace weft::test {
namespace {

constexpr std::uint64_t kClient = 0x1000000000000001, kServer = 0x1000000000000002;

class JoinTest : public JoinedTest {
protected:
    std::uint64_t counter(std::uint32_t index) {
        std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_counters), &index, values.data()), 0);
        std::uint64_t sum = 0;
        for (const auto value : values) {
            sum += value;
        }
        return sum;
    }
    /// Sends `text` one way; what arrives.
    static std::string pass(const UniqueFd& from, const UniqueFd& to, const std::string& text) {
        EXPECT_TRUE(write_all(from.get(), text));
        return read_all(to.get(), text.size());
    }
    /// Policy that opens port 8080 at the server to the client, and nothing else.
    void isolate_server() {
        world.set_identity(*Ip::parse("10.77.0.1"), kClient);
        world.set_identity(*Ip::parse("10.77.0.2"), kServer);
        world.set_endpoint(world.server, "10.77.0.2", "fd77::2",
                           WEFT_ENDPOINT_ACCEL | WEFT_ENDPOINT_ANY_SOURCE | WEFT_ENDPOINT_ISOLATED_INGRESS, 5);
        world.allow(5, WEFT_INGRESS, kClient, IPPROTO_TCP, 8080);
        world.bump_revision();
    }
    weft_conn listed(std::uint64_t socket) {
        const auto all = bpf::read_connections(bpf_program__fd(world.bpf().progs.weft_conn_iter),
                                               bpf_map__fd(world.bpf().maps.weft_socket));
        EXPECT_TRUE(all.has_value());
        const auto found = std::ranges::find(*all, socket, &weft_conn::cookie);
        return found == all->end() ? weft_conn{} : *found;
    }
};

TEST_F(JoinTest, BytesBetweenTwoWorkloadsSkipTcp) {
    for (const std::string ip : {"10.77.0.2", "fd77::2"}) {
        const auto at = listener(8080, ip);
        const auto c = connect(at, 8080, ip);
        const std::string there = pattern(100'000), back = pattern(3000, 7);
        EXPECT_EQ(pass(c.client, c.server, there), there) << ip;
        EXPECT_EQ(pass(c.server, c.client, back), back) << ip;
        EXPECT_EQ(skipped(c), there.size() + back.size()) << ip;
        for (const auto* fd : {&c.client, &c.server}) {
            const auto conn = listed(cookie(fd->get()));
            EXPECT_EQ(conn.accel, static_cast<std::uint32_t>(WEFT_CONN_JOINED));
            EXPECT_EQ(conn.bytes_skipped, there.size() + back.size());
            EXPECT_EQ(conn.bytes_sent, fd == &c.client ? there.size() : back.size());
            EXPECT_EQ(conn.bytes_received, fd == &c.client ? back.size() : there.size());
        }
    }
    EXPECT_GE(counter(WEFT_COUNTER_ACCEL_JOINED), 2U);
    EXPECT_GE(counter(WEFT_COUNTER_ACCEL_BYTES), 206'000U);
}

TEST_F(JoinTest, Ipv6SocketsThatSpeakIpv4AreJoinedAsWell) {
    UniqueFd at;
    world.server.run([&] { at = listen_on(SockAddr("10.77.0.2", 8080, true)); });
    Connection c;
    world.client.run([&] { c.client = open_socket(AF_INET6, SOCK_STREAM, 20); });
    ASSERT_EQ(connect_to(c.client.get(), SockAddr("10.77.0.2", 8080, true)), 0);
    c.server = UniqueFd(::accept4(at.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_EQ(pass(c.client, c.server, "there"), "there");
    EXPECT_EQ(pass(c.server, c.client, "back"), "back");
    EXPECT_EQ(skipped(c), 9U);
}

TEST_F(JoinTest, BothEndsMustWantIt) {
    const auto at = listener(8080);
    world.set_endpoint(world.client, "10.77.0.1", "fd77::1", 0);
    const auto c = connect(at, 8080);
    EXPECT_EQ(pass(c.client, c.server, "hello"), "hello");
    EXPECT_EQ(pairs(), 0U);
    EXPECT_EQ(listed(cookie(c.client.get())).accel, static_cast<std::uint32_t>(WEFT_CONN_PLAIN));
}

TEST_F(JoinTest, LoopbackOfDifferentPodsNeverMeets) {
    // The same addresses and ports in two namespaces, all at once.
    UniqueFd there, here;
    world.server.run([&] { there = listen_on(SockAddr("127.0.0.1", 8080)); });
    world.client.run([&] { here = listen_on(SockAddr("127.0.0.1", 8080)); });
    std::vector<Connection> all;
    for (std::uint16_t port = 40000; port < 40020; ++port) {
        for (const bool of_server : {true, false}) {
            Connection c;
            (of_server ? world.server : world.client).run([&] {
                c.client = open_socket(AF_INET, SOCK_STREAM, 20);
                const SockAddr own("127.0.0.1", port);
                EXPECT_EQ(::bind(c.client.get(), own.get(), own.size), 0);
                EXPECT_EQ(connect_to(c.client.get(), SockAddr("127.0.0.1", 8080)), 0);
            });
            c.server = UniqueFd(::accept4((of_server ? there : here).get(), nullptr, nullptr, SOCK_CLOEXEC));
            all.push_back(std::move(c));
        }
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        ASSERT_EQ(send_text(all[i].client.get(), "from " + std::to_string(i)), 0);
        ASSERT_EQ(send_text(all[i].server.get(), "to " + std::to_string(i)), 0);
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_EQ(receive(all[i].server.get()).first, "from " + std::to_string(i));
        EXPECT_EQ(receive(all[i].client.get()).first, "to " + std::to_string(i));
    }
    EXPECT_EQ(pairs(), 0U);
}

TEST_F(JoinTest, CountersAndFlowsAreExact) {
    const auto at = listener(8080);
    (void)world.events();
    const auto before = world.events().size();
    {
        auto c = connect(at, 8080);
        EXPECT_EQ(pass(c.client, c.server, std::string(12345, 'x')).size(), 12345U);
        EXPECT_EQ(pass(c.server, c.client, std::string(678, 'y')).size(), 678U);
        EXPECT_GT(skipped(c), 0U);
        c.client.reset();
        EXPECT_EQ(read_all(c.server.get(), 1), "");
        c.server.reset();
    }
    std::vector<weft_event> closes;
    for (int tries = 0; tries < 1000 && closes.size() < 2; ++tries) {
        (void)::poll(nullptr, 0, 10);
        closes = world.events();
        closes.erase(closes.begin(), closes.begin() + static_cast<std::ptrdiff_t>(before));
        std::erase_if(closes, [](const weft_event& event) { return event.kind != WEFT_EVENT_CLOSE; });
    }
    ASSERT_EQ(closes.size(), 2U);
    for (const auto& event : closes) {
        const bool client = event.direction == WEFT_EGRESS;
        EXPECT_EQ(event.bytes_sent, client ? 12345U : 678U);
        EXPECT_EQ(event.bytes_received, client ? 678U : 12345U);
        EXPECT_EQ(event.flags & WEFT_EVENT_RESET, 0);
    }
}

TEST_F(JoinTest, WhoTracesSeesFirstBytesWithoutPackets) {
    world.set_config_flags(WEFT_CONFIG_TRACE);
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    EXPECT_EQ(pass(c.client, c.server, "one"), "one");
    EXPECT_EQ(pass(c.client, c.server, "two"), "two");
    EXPECT_EQ(skipped(c), 6U);
    std::vector<std::pair<std::uint64_t, int>> first;
    for (const auto& event : world.events()) {
        if (event.kind == WEFT_EVENT_FIRST_BYTE) {
            first.emplace_back(event.cookie, event.direction);
        }
    }
    EXPECT_EQ(first, (std::vector<std::pair<std::uint64_t, int>>{{cookie(c.client.get()), WEFT_EGRESS},
                                                                 {cookie(c.server.get()), WEFT_INGRESS}}));
}

TEST_F(JoinTest, APolicyThatNoLongerAllowsCutsAndOneThatStillDoesKeeps) {
    isolate_server();
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    EXPECT_EQ(pass(c.client, c.server, "one"), "one");
    world.bump_revision(); // something else changed
    EXPECT_EQ(pass(c.client, c.server, "two"), "two");
    EXPECT_EQ(skipped(c), 6U);
    EXPECT_EQ(listed(cookie(c.server.get())).socket.revision, pair(cookie(c.client.get()))->revision)
        << "shown as judged, though by no packet";
    world.deny(5, WEFT_INGRESS, kClient);
    world.bump_revision();
    ASSERT_TRUE(write_all(c.client.get(), "not to be seen"));
    pollfd silent{c.server.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&silent, 1, 500), 0);
    EXPECT_EQ(skipped(c), 6U);
    EXPECT_GE(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_INGRESS), 1U);
    EXPECT_EQ(listed(cookie(c.client.get())).accel, static_cast<std::uint32_t>(WEFT_CONN_LEFT));
    // Allowed again, TCP delivers it: nothing was lost.
    world.allow(5, WEFT_INGRESS, kClient, IPPROTO_TCP, 8080);
    world.bump_revision();
    EXPECT_EQ(read_all(c.server.get(), 14), "not to be seen");
}

TEST_F(JoinTest, SwitchingOffMovesLivingConnectionsToTcpInOrder) {
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    ASSERT_TRUE(write_all(c.client.get(), "unread, ")); // still waits when TCP's bytes come
    EXPECT_EQ(skipped(c), 8U);
    switch_on(false);
    ASSERT_TRUE(write_all(c.client.get(), "and more"));
    ASSERT_TRUE(write_all(c.server.get(), "back"));
    EXPECT_EQ(read_all(c.server.get(), 16), "unread, and more");
    EXPECT_EQ(read_all(c.client.get(), 4), "back");
    EXPECT_EQ(skipped(c), 8U);
    switch_on(true); // for good: bytes of TCP could still be on their way
    EXPECT_EQ(pass(c.client, c.server, "x"), "x");
    EXPECT_EQ(skipped(c), 8U);
    EXPECT_GE(world.drops(WEFT_REASON_ACCEL_LEFT, WEFT_EGRESS), 1U);
}

TEST_F(JoinTest, TcpStaysTcpWhenItsSequenceNumbersComeRound) {
    if (emulated()) {
        GTEST_SKIP() << "4 GiB take too long where every instruction is emulated";
    }
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    const std::uint64_t key = cookie(c.client.get());
    const int map = bpf_map__fd(world.bpf().maps.weft_accel_pair);
    const auto entry = pair(key);
    ASSERT_TRUE(entry.has_value());
    ASSERT_EQ(bpf_map_delete_elem(map, &key), 0); // as if the server had come a moment later
    const std::string piece = pattern(1 << 20);
    constexpr std::uint64_t kPieces = (std::uint64_t{1} << 32) / (1 << 20);
    std::jthread reader([&] {
        std::vector<char> buffer(1 << 20);
        std::uint64_t left = kPieces << 20;
        while (left > 0) {
            const ssize_t got = ::recv(c.server.get(), buffer.data(), buffer.size(), 0);
            if (got <= 0) {
                break;
            }
            left -= static_cast<std::uint64_t>(got);
        }
        EXPECT_EQ(left, 0U);
    });
    ASSERT_TRUE(write_all(c.client.get(), piece));
    ASSERT_EQ(bpf_map_update_elem(map, &key, &*entry, BPF_NOEXIST), 0);
    for (std::uint64_t i = 1; i < kPieces; ++i) {
        ASSERT_TRUE(write_all(c.client.get(), piece));
    }
    reader.join();
    EXPECT_EQ(pass(c.client, c.server, "round"), "round");
    EXPECT_EQ(skipped(c), 0U);
}

TEST_F(JoinTest, ARetiredConfigurationEndsIt) {
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    EXPECT_EQ(pass(c.client, c.server, "one"), "one");
    world.set_config_flags(WEFT_CONFIG_RETIRED);
    EXPECT_EQ(pass(c.client, c.server, "two"), "two");
    EXPECT_EQ(skipped(c), 3U);
}

TEST_F(JoinTest, KernelTlsIsRefusedOnWhatWasJoinedAndBytesGoOn) {
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    EXPECT_EQ(pass(c.client, c.server, "hello"), "hello");
    EXPECT_EQ(::setsockopt(c.server.get(), IPPROTO_TCP, TCP_ULP, "tls", 3), -1);
    EXPECT_EQ(errno, EOPNOTSUPP);
    EXPECT_EQ(world.drops(WEFT_REASON_ACCEL_ULP, WEFT_EGRESS), 1U);
    EXPECT_EQ(pass(c.client, c.server, "in user space"), "in user space");
    EXPECT_EQ(pass(c.server, c.client, "as well"), "as well");
    EXPECT_EQ(skipped(c), 5U) << "from then on by TCP";
}

TEST_F(JoinTest, KernelTlsWorksWhereNothingIsJoined) {
    switch_on(false);
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    if (::setsockopt(c.server.get(), IPPROTO_TCP, TCP_ULP, "tls", 3) != 0) {
        EXPECT_EQ(errno, ENOENT); // the kernel's own answer
        GTEST_SKIP() << "this kernel has no TLS";
    }
    switch_on(true);
    EXPECT_EQ(pass(c.client, c.server, "hello"), "hello");
    EXPECT_EQ(pairs(), 0U) << "it stays what it was when it was opened";
}

TEST_F(JoinTest, OptionsThatOnlyTcpHasTakeItOut) {
    const auto at = listener(8080);
    const int one = 1, ten = 10;
    {
        const auto c = connect(at, 8080); // low-water mark: the reader is woken when there is enough
        ASSERT_EQ(::setsockopt(c.server.get(), SOL_SOCKET, SO_RCVLOWAT, &ten, sizeof ten), 0);
        ASSERT_EQ(send_text(c.client.get(), "12345"), 0);
        pollfd enough{c.server.get(), POLLIN, 0};
        EXPECT_EQ(::poll(&enough, 1, 200), 0);
        ASSERT_EQ(send_text(c.client.get(), "67890"), 0);
        EXPECT_EQ(::poll(&enough, 1, 5000), 1);
        EXPECT_EQ(skipped(c), 0U);
    }
    {
        const auto c = connect(at, 8080); // zero copy: the sender is told when its memory is free
        ASSERT_EQ(::setsockopt(c.client.get(), SOL_SOCKET, SO_ZEROCOPY, &one, sizeof one), 0);
        const std::string data = pattern(20'000);
        ASSERT_EQ(::send(c.client.get(), data.data(), data.size(), MSG_ZEROCOPY), static_cast<ssize_t>(data.size()));
        EXPECT_EQ(read_all(c.server.get(), data.size()), data);
        pollfd told{c.client.get(), 0, 0};
        EXPECT_EQ(::poll(&told, 1, 5000), 1);
        EXPECT_NE(told.revents & POLLERR, 0);
        EXPECT_EQ(skipped(c), 0U);
    }
    {
        const auto c = connect(at, 8080, "10.77.0.2", [&](int fd) { // before there is a connection
            ASSERT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &ten, sizeof ten), 0);
        });
        EXPECT_EQ(pass(c.client, c.server, "hello"), "hello");
        EXPECT_EQ(skipped(c), 0U);
    }
}

TEST_F(JoinTest, LargeOptionsAreNotCutOff) {
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    std::vector<char> large(8192); // more than a page; what the kernel says of it must be the kernel's word
    errno = 0;
    (void)::setsockopt(c.client.get(), SOL_SOCKET, SO_KEEPALIVE, large.data(), static_cast<socklen_t>(large.size()));
    EXPECT_NE(errno, EFAULT);
    const int one = 1;
    EXPECT_EQ(::setsockopt(c.client.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
}

} // namespace
} // namespace weft::test
