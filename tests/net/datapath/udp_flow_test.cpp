// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does the kernel tell of UDP? Begin and end of a flow, with what it carried each way, for every kind of socket.
#include <netinet/udp.h>

#include <algorithm>

#include "tests/net/datapath/family.hpp"
#include "weft/abi/udp_flow.h"

namespace weft::test {
namespace {

class UdpFlowTest : public DatapathTest {
protected:
    /// Ends what was silent for `idle_ns`.
    weft_udp_sweep sweep(std::uint64_t idle_ns = 0) {
        weft_udp_sweep args{};
        args.idle_ns = idle_ns;
        LIBBPF_OPTS(bpf_test_run_opts, options);
        options.ctx_in = &args;
        options.ctx_size_in = sizeof args;
        EXPECT_EQ(bpf_prog_test_run_opts(bpf_program__fd(world.bpf().progs.weft_udp_sweep), &options), 0);
        EXPECT_EQ(options.retval, 0U);
        return args;
    }
    /// Events of UDP at one workload, oldest first.
    std::vector<weft_event> told(const Netns& at) {
        auto all = world.events();
        std::erase_if(all, [&](const weft_event& e) { return e.netns != at.cookie() || e.local.proto != IPPROTO_UDP; });
        return all;
    }
    /// One datagram there, as large as asked for; received.
    static void pass(int from, const SockAddr* to, int at, std::size_t size) {
        const std::string text(size, 'x');
        ASSERT_EQ(to != nullptr ? send_text(from, text, *to) : send_text(from, text), 0);
        ASSERT_EQ(receive(at).first.size(), size);
    }
    std::uint64_t counter(std::uint32_t which) {
        std::vector<std::uint64_t> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
        EXPECT_EQ(bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_counters), &which, values.data()), 0);
        std::uint64_t sum = 0;
        for (const auto value : values) {
            sum += value;
        }
        return sum;
    }
};

INSTANTIATE_TEST_SUITE_P(Families, UdpFlowTest, ::testing::ValuesIn(kFamilies), family_name);

TEST_P(UdpFlowTest, AConnectedSocketThroughAServiceIsOneFlowAtEachEnd) {
    world.set_service(vip(53, IPPROTO_UDP), {backend(2, 5353, IPPROTO_UDP)});
    const auto server = serve_udp(2, 5353);
    const auto client = client_socket(SOCK_DGRAM);
    ASSERT_EQ(connect_to(client.get(), family.dial(family.vip, 53)), 0);
    pass(client.get(), nullptr, server.get(), 100);
    pass(client.get(), nullptr, server.get(), 20);
    SockAddr from;
    ASSERT_EQ(send_text(client.get(), "hello"), 0);
    char buffer[16];
    ASSERT_EQ(::recvfrom(server.get(), buffer, sizeof buffer, 0, from.get(), &from.size), 5);
    pass(server.get(), &from, client.get(), 1000);
    pass(server.get(), &from, client.get(), 0);

    const auto begun = told(world.client);
    ASSERT_EQ(begun.size(), 1U);
    EXPECT_EQ(begun[0].kind, WEFT_EVENT_CONNECT);
    EXPECT_EQ(begun[0].direction, WEFT_EGRESS);
    EXPECT_EQ(begun[0].service, service_id_of(vip(53, IPPROTO_UDP)));
    EXPECT_EQ(to_string(begun[0].asked), to_string(vip(53, IPPROTO_UDP)));
    EXPECT_EQ(to_string(begun[0].remote), to_string(backend(2, 5353, IPPROTO_UDP)));
    EXPECT_EQ(Ip(begun[0].local.addr).to_string(), family.client);
    EXPECT_NE(begun[0].cookie, 0U);
    EXPECT_EQ(begun[0].workload, world.client.cookie() * 1000);
    EXPECT_EQ(told(world.server).at(0).kind, WEFT_EVENT_ACCEPT);
    EXPECT_EQ(told(world.server).at(0).direction, WEFT_INGRESS);

    EXPECT_EQ(sweep(60'000'000'000).ended, 0U);
    EXPECT_EQ(told(world.client).size(), 1U);
    const auto done = sweep();
    EXPECT_EQ(done.ended, 2U);
    EXPECT_EQ(done.open, 0U);
    const auto all = told(world.client);
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[1].kind, WEFT_EVENT_CLOSE);
    EXPECT_EQ(all[1].direction, WEFT_EGRESS);
    EXPECT_EQ(all[1].bytes_sent, 125U);
    EXPECT_EQ(all[1].packets_sent, 3U);
    EXPECT_EQ(all[1].bytes_received, 1000U);
    EXPECT_EQ(all[1].packets_received, 2U);
    EXPECT_EQ(all[1].cookie, all[0].cookie);
    EXPECT_EQ(all[1].service, all[0].service);
    EXPECT_EQ(all[1].local.port, all[0].local.port);
    EXPECT_GT(all[1].duration_ns, 0U);
    EXPECT_GT(all[1].idle_ns, 0U);
    EXPECT_EQ(all[1].time_ns - all[1].idle_ns - all[1].duration_ns, all[0].time_ns);
    const auto there = told(world.server);
    ASSERT_EQ(there.size(), 2U);
    EXPECT_EQ(there[1].bytes_received, 125U);
    EXPECT_EQ(there[1].bytes_sent, 1000U);
    EXPECT_EQ(there[1].packets_received, 3U);
    EXPECT_EQ(there[1].packets_sent, 2U);
    EXPECT_EQ(counter(WEFT_COUNTER_UDP_SENT_FIRST), 1U);
    EXPECT_EQ(counter(WEFT_COUNTER_UDP_RECEIVED_FIRST), 1U);
    EXPECT_EQ(counter(WEFT_COUNTER_UDP_ENDED), 2U);
    EXPECT_EQ(counter(WEFT_COUNTER_UDP_BYTES_SENT), 1125U);
    EXPECT_EQ(counter(WEFT_COUNTER_UDP_PACKETS_RECEIVED), 5U);
    EXPECT_EQ(counter(WEFT_COUNTER_EVENTS), 4U);
}

TEST_P(UdpFlowTest, AnUnconnectedSocketHasAFlowForEachPeer) {
    world.set_service(vip(53, IPPROTO_UDP), {backend(2, 5353, IPPROTO_UDP)});
    const auto first = serve_udp(2, 5353), second = serve_udp(3, 5353);
    const auto client = client_socket(SOCK_DGRAM);
    const auto service = family.dial(family.vip, 53), plain = family.dial(family.server(3), 5353);
    pass(client.get(), &service, first.get(), 7);
    pass(client.get(), &plain, second.get(), 8);
    pass(client.get(), &plain, second.get(), 9);
    EXPECT_EQ(sweep().ended, 4U);
    const auto all = told(world.client);
    ASSERT_EQ(all.size(), 4U);
    const auto end_to = [&](int n) {
        return *std::ranges::find_if(all, [&](const weft_event& e) {
            return e.kind == WEFT_EVENT_CLOSE && Ip(e.remote.addr).to_string() == family.server(n);
        });
    };
    EXPECT_EQ(end_to(2).bytes_sent, 7U);
    EXPECT_EQ(end_to(2).service, service_id_of(vip(53, IPPROTO_UDP)));
    EXPECT_EQ(to_string(end_to(2).asked), to_string(vip(53, IPPROTO_UDP)));
    EXPECT_EQ(end_to(3).bytes_sent, 17U);
    EXPECT_EQ(end_to(3).packets_sent, 2U);
    EXPECT_EQ(end_to(3).service, 0U);
    EXPECT_EQ(to_string(end_to(3).asked), to_string(end_to(3).remote));
}

TEST_P(UdpFlowTest, OneThatGoesOnAfterItsEndIsAnotherOne) {
    const auto server = serve_udp(2, 5353);
    const auto client = client_socket(SOCK_DGRAM);
    const auto to = family.dial(family.server(2), 5353);
    for (int round = 1; round <= 3; ++round) {
        pass(client.get(), &to, server.get(), 10);
        EXPECT_EQ(sweep().ended, 2U);
        ASSERT_EQ(told(world.client).size(), static_cast<std::size_t>(2 * round));
        EXPECT_EQ(told(world.client).back().bytes_sent, 10U);
    }
}

TEST_P(UdpFlowTest, ABufferOfManyDatagramsCountsEach) {
    const auto server = serve_udp(2, 5353);
    const auto client = client_socket(SOCK_DGRAM);
    ASSERT_EQ(connect_to(client.get(), family.dial(family.server(2), 5353)), 0);
    const int segment = 100;
    ASSERT_EQ(::setsockopt(client.get(), SOL_UDP, UDP_SEGMENT, &segment, sizeof segment), 0);
    ASSERT_EQ(send_text(client.get(), std::string(950, 'x')), 0);
    for (int i = 0; i < 10; ++i) {
        ASSERT_EQ(receive(server.get()).first.size(), i < 9 ? 100U : 50U);
    }
    EXPECT_EQ(sweep().ended, 2U);
    EXPECT_EQ(told(world.client).back().bytes_sent, 950U);
    EXPECT_EQ(told(world.client).back().packets_sent, 10U);
    EXPECT_EQ(told(world.server).back().bytes_received, 950U);
    EXPECT_EQ(told(world.server).back().packets_received, 10U);
}

TEST_P(UdpFlowTest, WhatIsDeniedIsNoFlow) {
    constexpr std::uint64_t kPolicy = 77;
    world.set_endpoint(world.server, "10.77.0.2", "fd77::2", WEFT_ENDPOINT_ANY_SOURCE | WEFT_ENDPOINT_ISOLATED_INGRESS,
                       kPolicy);
    world.set_identity(*Ip::parse(family.client), 4711);
    world.allow(kPolicy, WEFT_INGRESS, 4711, IPPROTO_UDP, 5353);
    world.bump_revision();
    const auto allowed = serve_udp(2, 5353), denied = serve_udp(2, 5354);
    const auto client = client_socket(SOCK_DGRAM);
    const auto good = family.dial(family.server(2), 5353), bad = family.dial(family.server(2), 5354);
    ASSERT_EQ(send_text(client.get(), "no", bad), 0);
    pass(client.get(), &good, allowed.get(), 3);
    EXPECT_EQ(world.drops(WEFT_REASON_POLICY_DENIED, WEFT_INGRESS), 1U);
    const auto all = told(world.server);
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].kind, WEFT_EVENT_DENIED);
    EXPECT_EQ(all[1].kind, WEFT_EVENT_ACCEPT);
    EXPECT_EQ(all[1].rule, kPolicy * 10 + WEFT_INGRESS);
    EXPECT_EQ(sweep().ended, 3U) << "one at the server, two at the client, which may send both";
}

TEST_P(UdpFlowTest, NothingIsFollowedWhenItIsOff) {
    world.set_config_flags(WEFT_CONFIG_UDP_OFF);
    const auto server = serve_udp(2, 5353);
    const auto client = client_socket(SOCK_DGRAM);
    const auto to = family.dial(family.server(2), 5353);
    pass(client.get(), &to, server.get(), 10);
    EXPECT_EQ(sweep().ended, 0U);
    EXPECT_TRUE(told(world.client).empty());
    world.set_config_flags(WEFT_CONFIG_EVENTS_OFF);
    pass(client.get(), &to, server.get(), 10);
    EXPECT_EQ(sweep().ended, 2U);
    EXPECT_TRUE(told(world.client).empty());
    EXPECT_EQ(counter(WEFT_COUNTER_UDP_BYTES_SENT), 10U) << "counters do not depend on events";
}

TEST(UdpFlowLimit, DatagramsOfFurtherFlowsPassAndAreCounted) {
    World world([](weft_bpf& bpf) { bpf_map__set_max_entries(bpf.maps.weft_udp_flow, 2); });
    UniqueFd server, client;
    world.server.run([&] { server = bound_datagram(SockAddr("10.77.0.2", 5353)); });
    world.client.run([&] { client = open_socket(AF_INET, SOCK_DGRAM); });
    UniqueFd more;
    world.client.run([&] { more = open_socket(AF_INET, SOCK_DGRAM); });
    const SockAddr to("10.77.0.2", 5353);
    ASSERT_EQ(send_text(client.get(), "one", to), 0);
    ASSERT_EQ(receive(server.get()).first, "one"); // a flow at each end: now it is full
    ASSERT_EQ(send_text(more.get(), "two", to), 0);
    ASSERT_EQ(send_text(more.get(), "three", to), 0);
    EXPECT_EQ(receive(server.get()).first, "two");
    EXPECT_EQ(receive(server.get()).first, "three");
    EXPECT_EQ(world.drops(WEFT_REASON_UDP_FLOW_FULL, WEFT_EGRESS), 2U);
    EXPECT_EQ(world.drops(WEFT_REASON_UDP_FLOW_FULL, WEFT_INGRESS), 2U);
    EXPECT_EQ(world.events().size(), 2U);
}

} // namespace
} // namespace weft::test
