// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What takes minutes or hours until it happens. Only for guests whose clock counts instructions: while everybody waits
// there, it goes on to the next timer at once.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <poll.h>

#include <fstream>

#include "agent/mesh/sockets.hpp"
#include "tests/net/ktls/streams.hpp"
#include "tests/net/mesh/mesh_world.hpp"

namespace weft::test {
namespace {

using ktls::test::eventually;
using ktls::test::wait_for;
using namespace std::chrono_literals;

constexpr std::size_t kSome = 100000;

// 60 s, then 9 probes 75 s apart, and time for what follows.
constexpr auto kKeepalive = 15min;
// TCP's own patience with bytes that nobody acknowledges, by net.ipv4.tcp_retries2: some 15 minutes.
constexpr auto kRetransmissions = 40min;

class MeshPatience : public MeshWorld {
protected:
    void SetUp() override {
        std::string line;
        std::getline(std::ifstream("/proc/cmdline"), line);
        if (line.find("weft.warm") == std::string::npos) {
            GTEST_SKIP() << "hours would be hours here";
        }
        start();
        ends = connect();
        ASSERT_TRUE(ends.server.valid());
        ASSERT_TRUE(exchange(ends.client.get(), ends.server.get(), kSome, 1));
        ASSERT_TRUE(exchange(ends.server.get(), ends.client.get(), kSome, 2));
    }
    /// From now on no packet comes through, in either direction, for ever.
    void node_goes() {
        const bpf_insn drop[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_DROP}, {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
        const UniqueFd program(
            bpf_prog_load(BPF_PROG_TYPE_XDP, "weft_test_gone", "GPL", drop, std::size(drop), nullptr));
        ASSERT_TRUE(program.valid());
        for (const auto* end : {&world.client, &world.server}) {
            end->run([&] {
                const int device = static_cast<int>(::if_nametoindex("veth0"));
                ASSERT_EQ(bpf_xdp_attach(device, program.get(), XDP_FLAGS_SKB_MODE, nullptr), 0);
            });
        }
    }
    /// The application's end is reset within that time, and not as if all had been said.
    static testing::AssertionResult is_reset(const UniqueFd& fd, std::chrono::milliseconds limit) {
        if (wait_for(fd.get(), POLLIN, limit) == 0) {
            return testing::AssertionFailure() << "still there";
        }
        char byte = 0;
        const auto got = ::recv(fd.get(), &byte, 1, MSG_DONTWAIT);
        const int code = got < 0 ? errno : 0;
        return code == ECONNRESET ? testing::AssertionSuccess()
                                  : testing::AssertionFailure() << got << " bytes, " << std::strerror(code);
    }
    Ends ends;
};

INSTANTIATE_TEST_SUITE_P(Families, MeshPatience, ::testing::ValuesIn(kFamilies, kFamilies + 2), family_name);

TEST_P(MeshPatience, AConnectionMayBeIdleForHours) {
    (void)::poll(nullptr, 0, std::chrono::milliseconds(3h).count());
    EXPECT_TRUE(exchange(ends.client.get(), ends.server.get(), kSome, 3));
    EXPECT_TRUE(exchange(ends.server.get(), ends.client.get(), kSome, 4));
    EXPECT_EQ(mesh->stats().connections().size(), 2U);
}

TEST_P(MeshPatience, IdleConnectionsToANodeThatIsGoneAreReset) {
    node_goes();
    EXPECT_TRUE(is_reset(ends.client, kKeepalive));
    EXPECT_TRUE(is_reset(ends.server, kKeepalive));
    EXPECT_TRUE(eventually([&] { return mesh->stats().connections().empty(); }));
}

TEST_P(MeshPatience, BytesForANodeThatIsGoneEndInAReset) {
    node_goes();
    ASSERT_EQ(send_text(ends.client.get(), "is anybody there?"), 0);
    EXPECT_TRUE(is_reset(ends.client, kRetransmissions));
    EXPECT_TRUE(eventually([&] { return mesh->stats().connections().empty(); }, kKeepalive));
}

TEST_P(MeshPatience, NobodyWaitsForEverForAConnectionToANodeThatIsGone) {
    node_goes();
    const auto late = connect();
    EXPECT_FALSE(late.server.valid());
    EXPECT_TRUE(late.error != 0 || is_reset(late.client, kKeepalive)) << late.error;
}

} // namespace
} // namespace weft::test
