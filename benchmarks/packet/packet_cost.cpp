// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does a packet cost that is judged? Datagrams per second with more and more policy, beside the same datagrams
// without any hook, in one run, round by round in turn, as ratios of medians: the machine's own speed drops out.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/sockets.hpp"
#include "tests/support/world.hpp"

namespace {

using namespace weft;
using namespace weft::test;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 15;
constexpr int kDatagrams = 20000;
constexpr const char* kServer = "10.77.0.3";

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

std::function<void(weft_bpf&)> sized(std::uint32_t policies) {
    return [=](weft_bpf& bpf) { bpf_map__set_max_entries(bpf.maps.weft_policy, std::max(16384U, policies * 2)); };
}

/// Seconds for kDatagrams datagrams from a socket that is judged packet by packet.
double datagram_round(int fd, const SockAddr& to) {
    const auto start = Clock::now();
    for (int i = 0; i < kDatagrams; ++i) {
        (void)!::sendto(fd, "x", 1, 0, to.get(), to.size);
    }
    return std::chrono::duration<double>(Clock::now() - start).count();
}

nlohmann::json datagrams(std::uint32_t entries) {
    World world(sized(entries));
    constexpr std::uint64_t kPolicy = 99;
    for (std::uint32_t i = 0; i < entries; ++i) {
        world.allow(kPolicy, WEFT_EGRESS, 100000 + i, 0, 0);
    }
    world.set_identity(*Ip::parse(kServer), 100000);
    world.set_endpoint(world.client, "10.77.0.1", "fd77::1", entries > 0 ? WEFT_ENDPOINT_ISOLATED_EGRESS : 0U, kPolicy);
    UniqueFd sink, governed, plain;
    world.cgroup.leave();
    world.server.run([&] { sink = bound_datagram(SockAddr(kServer, 5353)); });
    world.client.run([&] { plain = open_socket(AF_INET, SOCK_DGRAM); });
    world.cgroup.join();
    world.client.run([&] { governed = open_socket(AF_INET, SOCK_DGRAM); });
    const SockAddr to(kServer, 5353);
    std::vector<double> weft_rounds, direct_rounds;
    for (int round = -1; round < kRounds; ++round) {
        double seconds[2] = {};
        world.client.run([&] {
            seconds[0] = datagram_round(governed.get(), to);
            seconds[1] = datagram_round(plain.get(), to);
        });
        if (round >= 0) {
            weft_rounds.push_back(seconds[0]);
            direct_rounds.push_back(seconds[1]);
        }
    }
    const double extra = (median(weft_rounds) - median(direct_rounds)) / kDatagrams * 1e9;
    std::fprintf(stderr, "%-10u direct %6.0f ns   weft %6.0f ns  +%.0f ns a packet, rate ÷ direct %.3f\n", entries,
                 median(direct_rounds) / kDatagrams * 1e9, median(weft_rounds) / kDatagrams * 1e9, extra,
                 median(direct_rounds) / median(weft_rounds));
    return {{"policy_entries", entries},
            {"extra_ns_per_packet", extra},
            {"rate_vs_direct", median(direct_rounds) / median(weft_rounds)}};
}

} // namespace

int main() {
    nlohmann::json report;
    std::fputs("unconnected UDP, judged packet by packet, with N policy entries\n", stderr);
    for (const std::uint32_t entries : {0U, 1000U, 100000U, 1000000U}) {
        report["packet"].push_back(datagrams(entries));
    }
    std::printf("%s\n", report.dump().c_str());
}
