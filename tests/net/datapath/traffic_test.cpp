// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does the kernel count of connections, by workload and peer? Opens and closes, payload, what goes beyond the
// limit of peers, and what happens to a sum that the agent has removed.
#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>

#include "tests/net/datapath/family.hpp"
#include "weft/abi/traffic.h"

namespace weft::test {
namespace {

constexpr std::uint64_t kClient = 0x1000000000000001, kServer = 0x1000000000000002;

class TrafficTest : public DatapathTest {
protected:
    void SetUp() override {
        identify(world.client, kClient);
        identify(world.server, kServer);
        world.set_identity(*Ip::parse(family.client), kClient);
        for (int n = 2; n <= 9; ++n) {
            world.set_identity(*Ip::parse(family.server(n)), kServer);
        }
    }
    void identify(const Netns& netns, std::uint64_t identity) {
        const auto cookie = netns.cookie();
        const int map = bpf_map__fd(world.bpf().maps.weft_endpoint);
        weft_endpoint endpoint{};
        ASSERT_EQ(bpf_map_lookup_elem(map, &cookie, &endpoint), 0);
        endpoint.identity = identity;
        ASSERT_EQ(bpf_map_update_elem(map, &cookie, &endpoint, BPF_ANY), 0);
    }
    static weft_traffic_key key(std::uint64_t workload, std::uint64_t peer, std::uint8_t direction,
                                std::uint64_t service = 0) {
        weft_traffic_key out{};
        out.workload = workload;
        out.peer = peer;
        out.service = service;
        out.direction = direction;
        return out;
    }
    std::optional<weft_traffic> sum(const weft_traffic_key& of) {
        weft_traffic out{};
        return bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_traffic), &of, &out) == 0 ? std::optional(out)
                                                                                               : std::nullopt;
    }
    weft_others others(std::uint64_t identity) {
        weft_others out{};
        (void)bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_others), &identity, &out); // absent: zeros
        return out;
    }
    /// As the kernel closes in its own time.
    bool closes(const weft_traffic_key& of, std::uint64_t count) {
        for (int tries = 0; tries < 2000; ++tries) {
            const auto now = sum(of);
            if (now && now->closed >= count) {
                return now->closed == count;
            }
            (void)::poll(nullptr, 0, 10);
        }
        return false;
    }
    int forget(const weft_traffic_key& of) {
        weft_forget_args args{};
        args.key = of;
        LIBBPF_OPTS(bpf_test_run_opts, options);
        options.ctx_in = &args;
        options.ctx_size_in = sizeof args;
        EXPECT_EQ(bpf_prog_test_run_opts(bpf_program__fd(world.bpf().progs.weft_forget), &options), 0);
        return args.result;
    }
    /// A connection with its server's end; `to` as the application dials it.
    std::pair<UniqueFd, UniqueFd> connection(const UniqueFd& listener, const SockAddr& to) {
        auto client = client_socket(SOCK_STREAM, 20);
        EXPECT_EQ(connect_to(client.get(), to), 0);
        UniqueFd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        EXPECT_TRUE(server.valid());
        return {std::move(client), std::move(server)};
    }
};

INSTANTIATE_TEST_SUITE_P(Families, TrafficTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(TrafficTest, OpensClosesAndPayloadAreCountedAtBothEnds) {
    world.set_service(vip(80, 6), {backend(2, 8080, 6)});
    const auto listener = serve_tcp(2, 8080);
    const auto out = key(kClient, kServer, WEFT_EGRESS, service_id_of(vip(80, 6)));
    const auto in = key(kServer, kClient, WEFT_INGRESS);
    auto [kept, kept_server] = connection(listener, family.dial(family.vip, 80));
    for (std::uint64_t round = 1; round <= 3; ++round) {
        auto [client, server] = connection(listener, family.dial(family.vip, 80));
        ASSERT_EQ(send_text(client.get(), std::string(1000, 'x')), 0);
        ASSERT_EQ(receive(server.get()).first.size(), 1000U);
        ASSERT_EQ(send_text(server.get(), "12345"), 0);
        ASSERT_EQ(receive(client.get()).first, "12345");
        client.reset();
        ASSERT_EQ(receive(server.get()).first, "");
        server.reset();
        ASSERT_TRUE(closes(out, round));
        ASSERT_TRUE(closes(in, round));
    }
    EXPECT_EQ(sum(out)->opened, 4U);
    EXPECT_EQ(sum(out)->sent, 3000U);
    EXPECT_EQ(sum(out)->received, 15U);
    EXPECT_EQ(sum(in)->opened, 4U);
    EXPECT_EQ(sum(in)->sent, 15U);
    EXPECT_EQ(sum(in)->received, 3000U);
    EXPECT_EQ(others(kClient).peers, 1U);
}

TEST_P(TrafficTest, WhatNobodyNamesIsTheWorldAndAPodIsItsOwnPeer) {
    const auto listener = serve_tcp(2, 8080);
    const weft_addr unnamed = Ip::parse(family.server(2))->raw();
    ASSERT_EQ(bpf_map_delete_elem(bpf_map__fd(world.bpf().maps.weft_ipcache), &unnamed), 0);
    const auto first = connection(listener, family.dial(family.server(2), 8080));
    EXPECT_EQ(sum(key(kClient, WEFT_IDENTITY_WORLD, WEFT_EGRESS))->opened, 1U);

    UniqueFd own;
    world.client.run([&] { own = listen_on(SockAddr(family.client, 8081)); });
    const auto second = connection(own, family.dial(family.client, 8081));
    EXPECT_EQ(sum(key(kClient, kClient, WEFT_EGRESS))->opened, 1U);
    EXPECT_EQ(sum(key(kClient, kClient, WEFT_INGRESS))->opened, 1U);
}

TEST_P(TrafficTest, PeersBeyondTheLimitAreCountedTogether) {
    const auto listener = serve_tcp(2, 8080);
    constexpr std::uint64_t kMany = WEFT_TRAFFIC_PEERS + 6;
    for (std::uint64_t i = 0; i < kMany; ++i) {
        world.set_identity(*Ip::parse(family.server(2)), 0x2000000000000000 + i);
        auto [client, server] = connection(listener, family.dial(family.server(2), 8080));
        ASSERT_EQ(send_text(client.get(), "1234567"), 0);
        ASSERT_EQ(receive(server.get()).first, "1234567");
    }
    const auto egress = [&] { return others(kClient).sum[WEFT_EGRESS * 2]; };
    for (int tries = 0; tries < 2000 && egress().closed < 6; ++tries) {
        (void)::poll(nullptr, 0, 10);
    }
    EXPECT_EQ(others(kClient).peers, WEFT_TRAFFIC_PEERS);
    EXPECT_EQ(egress().opened, 6U);
    EXPECT_EQ(egress().closed, 6U);
    EXPECT_EQ(egress().sent, 42U);
    EXPECT_EQ(world.drops(WEFT_REASON_TRAFFIC_OTHER, WEFT_EGRESS), 6U);
    EXPECT_EQ(world.drops(WEFT_REASON_TRAFFIC_LOST, WEFT_EGRESS), 0U);

    // Whoever is forgotten makes room for another one.
    EXPECT_EQ(forget(key(kClient, 0x2000000000000000, WEFT_EGRESS)), 0);
    EXPECT_EQ(forget(key(kClient, 0x2000000000000000, WEFT_EGRESS)), -ENOENT);
    EXPECT_EQ(others(kClient).peers, WEFT_TRAFFIC_PEERS - 1);
    world.set_identity(*Ip::parse(family.server(2)), 0x3000000000000000);
    const auto last = connection(listener, family.dial(family.server(2), 8080));
    EXPECT_EQ(sum(key(kClient, 0x3000000000000000, WEFT_EGRESS))->opened, 1U);
}

TEST_P(TrafficTest, ACloseIsCountedOnlyWhereItsOpenWas) {
    const auto listener = serve_tcp(2, 8080);
    const auto out = key(kClient, kServer, WEFT_EGRESS);
    auto [old_client, old_server] = connection(listener, family.dial(family.server(2), 8080));
    ASSERT_EQ(forget(out), 0);
    auto [client, server] = connection(listener, family.dial(family.server(2), 8080));
    old_client.reset();
    old_server.reset();
    client.reset();
    server.reset();
    ASSERT_TRUE(closes(key(kServer, kClient, WEFT_INGRESS), 2));
    ASSERT_TRUE(closes(out, 1));
    EXPECT_EQ(sum(out)->opened, 1U);
}

TEST_P(TrafficTest, IdentitiesThatChangeDoNotMoveAnOpenConnection) {
    const auto listener = serve_tcp(2, 8080);
    const auto out = key(kClient, kServer, WEFT_EGRESS);
    auto [client, server] = connection(listener, family.dial(family.server(2), 8080));
    identify(world.client, 0x4000000000000000);
    world.set_identity(*Ip::parse(family.server(2)), 0x5000000000000000);
    client.reset();
    server.reset();
    EXPECT_TRUE(closes(out, 1));
    EXPECT_FALSE(sum(key(0x4000000000000000, 0x5000000000000000, WEFT_EGRESS)).has_value());
}

TEST_P(TrafficTest, DurationsFallIntoPowersOfTwo) {
    const auto listener = serve_tcp(2, 8080);
    const auto in = key(kServer, kClient, WEFT_INGRESS);
    auto [client, server] = connection(listener, family.dial(family.server(2), 8080));
    (void)::poll(nullptr, 0, 300); // a connection's life is what is measured
    client.reset();
    server.reset();
    ASSERT_TRUE(closes(in, 1));
    const auto histogram = [&](std::uint32_t kind, std::uint32_t direction) {
        const std::uint32_t index = kind * WEFT_DIRECTION_COUNT + direction;
        std::vector<weft_histogram> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_durations), &index, values.data()), 0);
        weft_histogram all{};
        for (const auto& value : values) {
            all.sum_us += value.sum_us;
            std::ranges::transform(value.bucket, all.bucket, all.bucket, std::plus{});
        }
        return all;
    };
    for (std::uint32_t direction = 0; direction < WEFT_DIRECTION_COUNT; ++direction) {
        const auto life = histogram(WEFT_DURATION_LIFE, direction);
        EXPECT_GE(life.sum_us, 250'000U); // the shorter of two rounds of the clock
        for (std::size_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; ++i) {
            const bool holds = life.sum_us < (1ULL << i) && (i == 0 || life.sum_us >= (1ULL << (i - 1)));
            EXPECT_EQ(life.bucket[i], holds ? 1U : 0U) << i;
        }
    }
    const auto connect = histogram(WEFT_DURATION_CONNECT, WEFT_EGRESS);
    EXPECT_EQ(std::accumulate(std::begin(connect.bucket), std::end(connect.bucket), std::uint64_t{0}), 1U);
    EXPECT_LT(connect.sum_us, 20'000'000U);
}

} // namespace
} // namespace weft::test
