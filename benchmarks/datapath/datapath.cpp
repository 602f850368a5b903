// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What do the hooks cost? Connections per second to a Service through Weft, beside the same connections without any
// hook and beside iptables DNAT, and datagrams per second with more and more policy. Everything is measured in one run,
// round by round in turn, and reported as ratios of medians: this machine's own speed drops out.
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/sockets.hpp"
#include "tests/support/world.hpp"

namespace {

using namespace weft;
using namespace weft::test;
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 15;
constexpr int kConnects = 1000;
constexpr int kDatagrams = 20000;
constexpr const char* kServer = "10.77.0.3";
constexpr const char* kServiceIp = "10.96.0.1";

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

/// Accepts and resets until stopped.
class Acceptor {
public:
    explicit Acceptor(UniqueFd listener) : listener_(std::move(listener)), thread_([this] { run(); }) {}
    ~Acceptor() {
        stop_ = true;
        thread_.join();
    }
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

private:
    void run() {
        while (!stop_) {
            pollfd ready{listener_.get(), POLLIN, 0};
            if (::poll(&ready, 1, 50) > 0) {
                const UniqueFd accepted(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            }
        }
    }
    UniqueFd listener_;
    std::atomic<bool> stop_ = false;
    std::thread thread_;
};

/// Seconds for kConnects connections, one after another, each ended by a reset so that no port stays in TIME_WAIT.
double connect_round(const SockAddr& to) {
    const linger reset{1, 0};
    const auto start = Clock::now();
    for (int i = 0; i < kConnects; ++i) {
        const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(fd.get(), to.get(), to.size) != 0) {
            std::perror("connect");
            std::exit(1);
        }
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    }
    return std::chrono::duration<double>(Clock::now() - start).count();
}

void fill_services(World& world, std::uint32_t count) {
    const auto backend = make_addr_port(*Ip::parse(kServer), 8080, IPPROTO_TCP);
    for (std::uint32_t i = 1; i < count; ++i) {
        world.set_service(make_addr_port(Ip::v4(htonl(0x0a600001 + i)), 80, IPPROTO_TCP), {backend});
    }
    world.set_service(make_addr_port(*Ip::parse(kServiceIp), 80, IPPROTO_TCP), {backend});
}

/// One chain of DNAT rules, the dialled Service last, as kube-proxy's iptables mode lays them out.
void fill_iptables(const Netns& netns, std::uint32_t count) {
    const std::string file = "/tmp/weft-bench-" + std::to_string(::getpid()) + ".rules";
    {
        std::ofstream rules(file);
        rules << "*nat\n";
        for (std::uint32_t i = count; i-- > 0;) {
            rules << "-A OUTPUT -d " << Ip::v4(htonl(0x0a600001 + i)).to_string() << "/32 -p tcp --dport 80 -j DNAT --to-destination "
                  << kServer << ":8081\n";
        }
        rules << "COMMIT\n";
    }
    netns.shell("iptables-legacy-restore < " + file);
    ::unlink(file.c_str());
}

std::function<void(weft_bpf&)> sized(std::uint32_t services, std::uint32_t policies) {
    return [=](weft_bpf& bpf) {
        bpf_map__set_max_entries(bpf.maps.weft_service, std::max(4096U, services * 2));
        bpf_map__set_max_entries(bpf.maps.weft_slot, std::max(16384U, services * 2));
        bpf_map__set_max_entries(bpf.maps.weft_member, std::max(16384U, services * 2));
        bpf_map__set_max_entries(bpf.maps.weft_policy, std::max(16384U, policies * 2));
    };
}

nlohmann::json connects(std::uint32_t services, bool with_iptables) {
    World world(sized(services, 0));
    fill_services(world, services);
    UniqueFd governed, plain;
    world.server.run([&] { governed = listen_on(SockAddr(kServer, 8080), 4096); });
    world.cgroup.leave();
    world.server.run([&] { plain = listen_on(SockAddr(kServer, 8081), 4096); });
    const Acceptor governed_acceptor(std::move(governed));
    const Acceptor plain_acceptor(std::move(plain));
    std::vector<double> weft_rounds, direct_rounds, iptables_rounds;
    // iptables rules would also slow the other two down, so they live in a client namespace of their own.
    Netns other;
    if (with_iptables) {
        other.shell("ip link add veth1 type veth peer name veth1 netns " + world.server.path() +
                    " && ip addr add 10.78.0.1/24 dev veth1 && ip link set veth1 up && ip route add default via 10.78.0.2");
        world.server.shell("ip addr add 10.78.0.2/24 dev veth1 && ip link set veth1 up");
        fill_iptables(other, services);
    }
    for (int round = -1; round < kRounds; ++round) { // the first round warms up
        double seconds[3] = {};
        world.cgroup.join();
        world.client.run([&] { seconds[0] = connect_round(SockAddr(kServiceIp, 80)); });
        world.cgroup.leave();
        world.client.run([&] { seconds[1] = connect_round(SockAddr(kServer, 8081)); });
        if (with_iptables) {
            other.run([&] { seconds[2] = connect_round(SockAddr(kServiceIp, 80)); });
        }
        (void)world.events(); // empty the ring, as the agent does
        if (round >= 0) {
            weft_rounds.push_back(seconds[0]);
            direct_rounds.push_back(seconds[1]);
            iptables_rounds.push_back(seconds[2]);
        }
    }
    world.cgroup.join();
    const double direct = median(direct_rounds);
    nlohmann::json result{{"services", services},
                          {"direct_us", direct / kConnects * 1e6},
                          {"weft_us", median(weft_rounds) / kConnects * 1e6},
                          {"weft_rate_vs_direct", direct / median(weft_rounds)}};
    std::fprintf(stderr, "%-10u direct %6.1f us   weft %6.1f us  rate ÷ direct %.3f", services, direct / kConnects * 1e6,
                median(weft_rounds) / kConnects * 1e6, direct / median(weft_rounds));
    if (with_iptables) {
        result["iptables_us"] = median(iptables_rounds) / kConnects * 1e6;
        result["iptables_rate_vs_direct"] = direct / median(iptables_rounds);
        std::fprintf(stderr, "   iptables %6.1f us  rate ÷ direct %.3f", median(iptables_rounds) / kConnects * 1e6,
                    direct / median(iptables_rounds));
    }
    std::fprintf(stderr, "\n");
    return result;
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
    World world(sized(0, entries));
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
    return {{"policy_entries", entries}, {"extra_ns_per_packet", extra},
            {"rate_vs_direct", median(direct_rounds) / median(weft_rounds)}};
}

} // namespace

int main() {
    nlohmann::json report;
    std::fputs("connect to one of N Services (median of rounds in turn)\n", stderr);
    for (const std::uint32_t services : {10U, 1000U, 10000U, 100000U}) {
        report["connect"].push_back(connects(services, services <= 10000));
    }
    std::fputs("unconnected UDP, judged packet by packet, with N policy entries\n", stderr);
    for (const std::uint32_t entries : {0U, 1000U, 100000U, 1000000U}) {
        report["packet"].push_back(datagrams(entries));
    }
    std::printf("%s\n", report.dump().c_str());
}
