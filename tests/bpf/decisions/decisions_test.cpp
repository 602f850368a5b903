// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The kernel's decisions on their own, run by BPF_PROG_TEST_RUN against the real maps: thousands of choices without a
// socket, and every way in which a policy look-up can end.
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <map>
#include <set>

#include "tests/support/world.hpp"
#include "weft/abi/test_run.h"

namespace weft::test {
namespace {

weft_addr_port end(const std::string& ip, std::uint16_t port, std::uint8_t proto = IPPROTO_TCP) {
    return make_addr_port(*Ip::parse(ip), port, proto);
}

class DecisionsTest : public ::testing::Test {
protected:
    World world;

    weft_run_select select(const weft_addr_port& asked, std::uint64_t client, std::uint64_t source) {
        weft_run_select args{};
        args.asked = asked;
        args.client = client;
        args.source = source;
        bpf_test_run_opts opts{};
        opts.sz = sizeof opts;
        opts.ctx_in = &args;
        opts.ctx_size_in = sizeof args;
        EXPECT_EQ(bpf_prog_test_run_opts(bpf_program__fd(world.bpf().progs.weft_run_sel), &opts), 0);
        return args;
    }

    weft_run_decide decide(const std::string& peer, std::uint16_t port, std::uint8_t proto, std::uint8_t direction) {
        std::vector<std::uint8_t> data(14 + sizeof(weft_run_decide));
        weft_run_decide args{};
        args.netns = world.client.cookie();
        args.peer = Ip::parse(peer)->raw();
        args.port = port;
        args.proto = proto;
        args.direction = direction;
        std::memcpy(data.data() + 14, &args, sizeof args);
        std::vector<std::uint8_t> out(data.size());
        bpf_test_run_opts opts{};
        opts.sz = sizeof opts;
        opts.data_in = data.data();
        opts.data_size_in = static_cast<__u32>(data.size());
        opts.data_out = out.data();
        opts.data_size_out = static_cast<__u32>(out.size());
        EXPECT_EQ(bpf_prog_test_run_opts(bpf_program__fd(world.bpf().progs.weft_run_dec), &opts), 0);
        EXPECT_EQ(opts.retval, 0U);
        std::memcpy(&args, out.data() + 14, sizeof args);
        return args;
    }
    int verdict(const std::string& peer, std::uint16_t port, std::uint8_t proto, std::uint8_t direction) {
        return decide(peer, port, proto, direction).verdict;
    }
};

TEST_F(DecisionsTest, SelectTellsServiceFromNoService) {
    world.set_service(end("10.96.0.1", 80), {end("10.0.0.1", 8080)});
    world.set_service(end("10.96.0.2", 80), {});
    EXPECT_EQ(select(end("10.96.0.1", 80), 1, 1).result, 0);
    EXPECT_EQ(select(end("10.96.0.1", 81), 1, 1).result, 1);
    EXPECT_EQ(select(end("10.96.0.1", 80, IPPROTO_UDP), 1, 1).result, 1);
    EXPECT_EQ(select(end("10.96.0.2", 80), 1, 1).result, -ECONNREFUSED);
}

TEST_F(DecisionsTest, RandomIsEven) {
    std::vector<weft_addr_port> backends;
    for (int n = 0; n < 10; ++n) {
        backends.push_back(end("10.0.0." + std::to_string(n + 1), 80));
    }
    world.set_service(end("10.96.0.1", 80), backends);
    std::map<std::uint32_t, int> counts;
    for (int i = 0; i < 10000; ++i) {
        ++counts[select(end("10.96.0.1", 80), 1, 1).backend.addr.word[3]];
    }
    ASSERT_EQ(counts.size(), 10U);
    double chi_square = 0;
    for (const auto& [address, count] : counts) {
        chi_square += (count - 1000.0) * (count - 1000.0) / 1000.0;
    }
    EXPECT_LT(chi_square, 40.0) << "9 degrees of freedom: one run in 130,000 is beyond this by chance";
}

TEST_F(DecisionsTest, MaglevFollowsTheSourceAndNothingElse) {
    std::vector<weft_addr_port> backends;
    for (int n = 0; n < 7; ++n) {
        backends.push_back(end("10.0.0." + std::to_string(n + 1), 80));
    }
    world.set_service(end("10.96.0.1", 80), backends, WEFT_ALGORITHM_MAGLEV);
    std::set<std::uint32_t> used;
    for (std::uint64_t source = 1; source <= 200; ++source) {
        const auto first = select(end("10.96.0.1", 80), 1, source).backend.addr.word[3];
        EXPECT_EQ(select(end("10.96.0.1", 80), 99, source).backend.addr.word[3], first);
        used.insert(first);
    }
    EXPECT_EQ(used.size(), 7U);
}

TEST_F(DecisionsTest, AffinityFollowsTheClientUntilItsBackendLeaves) {
    std::vector<weft_addr_port> backends;
    for (int n = 0; n < 7; ++n) {
        backends.push_back(end("10.0.0." + std::to_string(n + 1), 80));
    }
    const auto vip = end("10.96.0.1", 80);
    world.set_service(vip, backends, WEFT_ALGORITHM_RANDOM, 0, 3600);
    const auto first = select(vip, 7, 7).backend;
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(select(vip, 7, 7).backend.addr.word[3], first.addr.word[3]);
    }
    world.remove_member(vip, first);
    std::erase_if(backends, [&](const auto& b) { return b.addr.word[3] == first.addr.word[3]; });
    world.set_service(vip, backends, WEFT_ALGORITHM_RANDOM, 0, 3600);
    EXPECT_NE(select(vip, 7, 7).backend.addr.word[3], first.addr.word[3]);
    EXPECT_EQ(world.drops(WEFT_REASON_AFFINITY_STALE, WEFT_EGRESS), 1U);
}

TEST_F(DecisionsTest, AffinityExpires) {
    const auto vip = end("10.96.0.1", 80);
    world.set_service(vip, {end("10.0.0.1", 80)}, WEFT_ALGORITHM_RANDOM, 0, 10);
    (void)select(vip, 7, 7);
    const weft_affinity_key key{service_id_of(vip), 7};
    weft_affinity value{};
    const int map = bpf_map__fd(world.bpf().maps.weft_affinity);
    ASSERT_EQ(bpf_map_lookup_elem(map, &key, &value), 0);
    value.last_used_ns -= 11'000'000'000ULL;
    value.backend = end("10.0.0.9", 80); // would be returned if it still counted, as it is made a member
    const weft_member_key member{service_id_of(vip), value.backend, 0};
    const std::uint32_t one = 1;
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(world.bpf().maps.weft_member), &member, &one, BPF_ANY), 0);
    ASSERT_EQ(bpf_map_update_elem(map, &key, &value, BPF_ANY), 0);
    EXPECT_EQ(select(vip, 7, 7).backend.addr.word[3], Ip::parse("10.0.0.1")->v4_be());
}

TEST_F(DecisionsTest, PolicyFallsFromIdentityToAnyAndFromPortToProtocol) {
    world.set_endpoint(world.client, "10.77.0.1", "fd77::1", WEFT_ENDPOINT_ISOLATED_INGRESS, 9);
    world.set_identity(*Ip::parse("10.0.0.1"), 1000);
    EXPECT_EQ(verdict("10.0.0.1", 80, IPPROTO_TCP, WEFT_INGRESS), WEFT_VERDICT_DENY);
    EXPECT_EQ(verdict("10.0.0.1", 80, IPPROTO_TCP, WEFT_EGRESS), WEFT_VERDICT_ALLOW)
        << "not isolated in that direction";
    world.allow(9, WEFT_INGRESS, 1000, IPPROTO_TCP, 80);
    EXPECT_EQ(verdict("10.0.0.1", 80, IPPROTO_TCP, WEFT_INGRESS), WEFT_VERDICT_ALLOW);
    EXPECT_EQ(verdict("10.0.0.1", 81, IPPROTO_TCP, WEFT_INGRESS), WEFT_VERDICT_DENY);
    EXPECT_EQ(verdict("10.0.0.1", 80, IPPROTO_UDP, WEFT_INGRESS), WEFT_VERDICT_DENY);
    EXPECT_EQ(verdict("10.0.0.2", 80, IPPROTO_TCP, WEFT_INGRESS), WEFT_VERDICT_DENY);
    world.allow(9, WEFT_INGRESS, WEFT_IDENTITY_ANY, IPPROTO_TCP, 443);
    EXPECT_EQ(verdict("10.0.0.2", 443, IPPROTO_TCP, WEFT_INGRESS), WEFT_VERDICT_ALLOW);
    EXPECT_EQ(verdict("10.0.0.1", 443, IPPROTO_TCP, WEFT_INGRESS), WEFT_VERDICT_ALLOW);
    world.allow(9, WEFT_INGRESS, WEFT_IDENTITY_ANY, 0, 0);
    EXPECT_EQ(verdict("10.0.0.9", 1, IPPROTO_SCTP, WEFT_INGRESS), WEFT_VERDICT_ALLOW);
}

TEST_F(DecisionsTest, PortPrefixesMatchRanges) {
    world.set_endpoint(world.client, "10.77.0.1", "fd77::1", WEFT_ENDPOINT_ISOLATED_EGRESS, 9);
    world.allow(9, WEFT_EGRESS, WEFT_IDENTITY_ANY, IPPROTO_TCP, 8000);
    const std::uint64_t ports = (std::uint64_t{1} << 40) + 8000 * 256ULL + IPPROTO_TCP;
    const weft_ports_key range{
        WEFT_PORTS_PREFIX + 13, static_cast<__u32>(ports >> 32), static_cast<__u32>(ports), IPPROTO_TCP, 0,
        __builtin_bswap16(9000)}; // 9000..9007
    const std::uint64_t rule = 77;
    ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(world.bpf().maps.weft_ports), &range, &rule, BPF_ANY), 0);
    for (std::uint16_t port = 8998; port <= 9009; ++port) {
        const auto answer = decide("10.0.0.1", port, IPPROTO_TCP, WEFT_EGRESS);
        const bool inside = port >= 9000 && port <= 9007;
        EXPECT_EQ(answer.verdict, inside ? WEFT_VERDICT_ALLOW : WEFT_VERDICT_DENY) << port;
        EXPECT_EQ(answer.rule, inside ? 77U : 0U);
    }
}

TEST_F(DecisionsTest, LongestPrefixNamesThePeer) {
    world.set_endpoint(world.client, "10.77.0.1", "fd77::1", WEFT_ENDPOINT_ISOLATED_EGRESS, 9);
    const auto cidr = [&](const char* text, std::uint64_t identity) {
        const Cidr block = *Cidr::parse(text);
        const weft_cidr_key key{static_cast<__u32>(block.bits()), block.base().raw()};
        const weft_peer peer{identity, 0, 0};
        ASSERT_EQ(bpf_map_update_elem(bpf_map__fd(world.bpf().maps.weft_cidr), &key, &peer, BPF_ANY), 0);
    };
    cidr("10.0.0.0/8", 2000);
    cidr("10.1.0.0/16", 2001);
    world.allow(9, WEFT_EGRESS, 2000, 0, 0);
    EXPECT_EQ(verdict("10.2.3.4", 1, IPPROTO_TCP, WEFT_EGRESS), WEFT_VERDICT_ALLOW);
    EXPECT_EQ(verdict("10.1.3.4", 1, IPPROTO_TCP, WEFT_EGRESS), WEFT_VERDICT_DENY)
        << "the except block has its own identity";
    EXPECT_EQ(verdict("11.0.0.1", 1, IPPROTO_TCP, WEFT_EGRESS), WEFT_VERDICT_DENY);
}

} // namespace
} // namespace weft::test
