// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Several servers on one address and port (SO_REUSEPORT) behind a Service: does each get its share, and is each judged?
#include <array>

#include "tests/net/datapath/family.hpp"

namespace weft::test {
namespace {

constexpr std::uint64_t kPolicy = 4242;
constexpr int kCalls = 64;

class ReusePortTest : public DatapathTest {
protected:
    std::array<UniqueFd, 2> serve(int type, std::uint16_t port) {
        std::array<UniqueFd, 2> servers;
        world.server.run([&] {
            const SockAddr at(family.server(2), port);
            for (UniqueFd& server : servers) {
                server.reset(::socket(at.family(), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
                const int one = 1;
                ASSERT_EQ(::setsockopt(server.get(), SOL_SOCKET, SO_REUSEPORT, &one, sizeof one), 0);
                ASSERT_EQ(::bind(server.get(), at.get(), at.size), 0);
                if (type == SOCK_STREAM) {
                    ASSERT_EQ(::listen(server.get(), kCalls), 0);
                }
            }
        });
        return servers;
    }
    void isolate_server() {
        world.set_endpoint(world.server, "10.77.0.2", "fd77::2", WEFT_ENDPOINT_ISOLATED_INGRESS, kPolicy);
        world.bump_revision();
    }
    static int accepted(const UniqueFd& listener) {
        int count = 0;
        while (UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)).valid()) {
            ++count;
        }
        return count;
    }
    static int received(const UniqueFd& server) {
        int count = 0;
        while (receive(server.get()).first == "x") {
            ++count;
        }
        return count;
    }
};

INSTANTIATE_TEST_SUITE_P(Families, ReusePortTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(ReusePortTest, TcpConnectionsReachEachListenerAndEachIsJudged) {
    const auto listeners = serve(SOCK_STREAM, 8080);
    world.set_service(vip(80, IPPROTO_TCP), {backend(2, 8080, IPPROTO_TCP)});
    for (int i = 0; i < kCalls; ++i) {
        ASSERT_EQ(connect_to(client_socket(SOCK_STREAM).get(), family.dial(family.vip, 80)), 0);
    }
    const int first = accepted(listeners[0]);
    const int second = accepted(listeners[1]);
    EXPECT_GT(first, 0);
    EXPECT_GT(second, 0);
    EXPECT_EQ(first + second, kCalls);
    isolate_server();
    std::vector<UniqueFd> waiting;
    for (int i = 0; i < kCalls; ++i) {
        waiting.push_back(client_socket(SOCK_STREAM | SOCK_NONBLOCK));
        ASSERT_EQ(connect_to(waiting.back().get(), family.dial(family.vip, 80)), EINPROGRESS);
    }
    EXPECT_GE(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_INGRESS), std::uint64_t{kCalls}) << "TCP tries again";
    EXPECT_EQ(accepted(listeners[0]) + accepted(listeners[1]), 0);
}

TEST_P(ReusePortTest, DatagramsReachEachServerAndEachIsJudged) {
    const auto servers = serve(SOCK_DGRAM, 5353);
    world.set_service(vip(53, IPPROTO_UDP), {backend(2, 5353, IPPROTO_UDP)});
    const auto send_all = [&] {
        for (int i = 0; i < kCalls; ++i) {
            const auto fd = client_socket(SOCK_DGRAM);
            ASSERT_EQ(connect_to(fd.get(), family.dial(family.vip, 53)), 0);
            ASSERT_EQ(send_text(fd.get(), "x"), 0);
        }
    };
    send_all();
    const int first = received(servers[0]);
    const int second = received(servers[1]);
    EXPECT_GT(first, 0);
    EXPECT_GT(second, 0);
    EXPECT_EQ(first + second, kCalls);
    isolate_server();
    send_all();
    EXPECT_EQ(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_INGRESS), std::uint64_t{kCalls});
    EXPECT_EQ(received(servers[0]) + received(servers[1]), 0);
}

} // namespace
} // namespace weft::test
