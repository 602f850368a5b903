// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does a TCP connect through a Service cost beside a direct one, with few and with many Services? Once with the
// client alone as a workload, as on its own node, and once with both ends. The same for iptables DNAT. All alternate in
// rounds, so that a busy machine weighs on them alike.
// connect_cost [CONNECTS PER ROUND] [ROUNDS]; a table on stderr, JSON on stdout.
#include <sched.h>

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/sockets.hpp"
#include "tests/support/world.hpp"

namespace weft::test {
namespace {

constexpr std::uint16_t kPort = 8080; // its listener is a workload's
constexpr std::uint16_t kForeignPort = 8081; // its listener belongs to no workload
constexpr std::size_t kLargestRuleset = 10'000;

void reset_on_close(int fd) {
    const linger hard{1, 0}; // no TIME_WAIT: ports are never scarce
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

/// Client and server each keep a CPU, or the scheduler's choice would be most of what is measured.
void stay_on_cpu(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu % std::max(1U, std::thread::hardware_concurrency()), &set);
    (void)::sched_setaffinity(0, sizeof set, &set);
}

/// The i-th Service's address; the last one is dialled, which is the worst case of a list of rules.
std::string vip(std::size_t i) {
    return fmt::format("10.{}.{}.{}", 100 + i / 62'500, i / 250 % 250, 1 + i % 250);
}

/// A listener that accepts as fast as it can.
class Acceptor {
public:
    Acceptor(const Netns& netns, const SockAddr& at) {
        netns.run([&] { listener_ = listen_on(at, 4096); });
        thread_ = std::thread([this] {
            stay_on_cpu(1);
            while (!done_) {
                const UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            }
        });
    }
    ~Acceptor() {
        done_ = true;
        (void)::shutdown(listener_.get(), SHUT_RDWR);
        thread_.join();
    }
    Acceptor(const Acceptor&) = delete;
    Acceptor& operator=(const Acceptor&) = delete;

private:
    UniqueFd listener_;
    std::atomic<bool> done_ = false;
    std::thread thread_;
};

/// Two namespaces with a wire.
class Pair {
public:
    explicit Pair(const std::string& net) : server_ip(net + ".2") {
        client.shell("ip link add veth0 type veth peer name veth0 netns " + server.path());
        client.shell("ip addr add " + net + ".1/24 dev veth0 && ip link set veth0 up && ip route add default via " +
                     server_ip);
        server.shell("ip addr add " + server_ip + "/24 dev veth0 && ip link set veth0 up");
    }

    /// Median nanoseconds of a connect to `ip`: what preempts us now and then does not count.
    double measure(const std::string& ip, int connects, std::uint16_t port = kPort) const {
        std::vector<double> samples;
        client.run([&] {
            stay_on_cpu(0);
            const SockAddr to(ip, port);
            for (int i = 0; i < connects; ++i) {
                const UniqueFd fd = open_socket(AF_INET, SOCK_STREAM);
                reset_on_close(fd.get());
                const auto began = std::chrono::steady_clock::now();
                const int error = connect_to(fd.get(), to);
                samples.push_back(
                    std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - began).count());
                if (error != 0) {
                    throw std::runtime_error(fmt::format("connect to {}: errno {}", ip, error));
                }
            }
        });
        return median(std::move(samples));
    }

    Netns client;
    Netns server;
    std::string server_ip;
};

template <typename K, typename V>
void put(const bpf_map* map, const K& key, const V& value) {
    if (bpf_map_update_elem(bpf_map__fd(map), &key, &value, BPF_ANY) != 0) {
        throw std::runtime_error(std::string("cannot write ") + bpf_map__name(map));
    }
}

/// The BPF programs with their maps sized for, and filled with, `services` Services of one backend each.
class Hooks {
public:
    Hooks(const Pair& pair, std::size_t services) : bpf_(weft_bpf__open()) {
        const auto capacity = static_cast<std::uint32_t>(services * 5 / 4 + 1024);
        for (bpf_map* map : {bpf_->maps.weft_service, bpf_->maps.weft_slot, bpf_->maps.weft_member}) {
            (void)bpf_map__set_max_entries(map, capacity);
        }
        if (weft_bpf__load(bpf_) != 0) {
            throw std::runtime_error("cannot load the BPF object");
        }
        put(bpf_->maps.weft_config, std::uint32_t{0}, weft_config{1, 0, 0});
        add_endpoint(pair.client, "10.77.0.1");
        add_endpoint(pair.server, pair.server_ip);
        for (std::size_t i = 0; i < services; ++i) {
            add_service(vip(i), kPort, pair.server_ip, i + 1);
        }
        add_service(vip(services - 1), kForeignPort, pair.server_ip, services + 1);
        ring_ = ring_buffer__new(
            bpf_map__fd(bpf_->maps.weft_events), [](void*, void*, std::size_t) { return 0; }, nullptr, nullptr);
    }
    ~Hooks() {
        detach();
        ring_buffer__free(ring_);
        weft_bpf__destroy(bpf_);
    }
    Hooks(const Hooks&) = delete;
    Hooks& operator=(const Hooks&) = delete;

    void attach(int cgroup) {
        bpf_program* program = nullptr;
        bpf_object__for_each_program(program, bpf_->obj) {
            const std::string section = bpf_program__section_name(program);
            if (!section.starts_with("cgroup") && section != "sockops") {
                continue;
            }
            bpf_link* link = bpf_program__attach_cgroup(program, cgroup);
            if (link == nullptr) {
                throw std::runtime_error("cannot attach " + section);
            }
            links_.push_back(link);
        }
    }
    void detach() {
        for (bpf_link* link : links_) {
            (void)bpf_link__destroy(link);
        }
        links_.clear();
        (void)ring_buffer__consume(ring_); // a full ring would make the next round cheaper than it is
    }

private:
    void add_service(const std::string& ip, std::uint16_t port, const std::string& server_ip, std::uint64_t set) {
        const weft_addr_port frontend = make_addr_port(*Ip::parse(ip), port, IPPROTO_TCP);
        const weft_addr_port backend = make_addr_port(*Ip::parse(server_ip), port, IPPROTO_TCP);
        weft_service service{};
        service.service = service_id_of(frontend);
        service.set = set;
        service.slot_count = 1;
        service.algorithm = WEFT_ALGORITHM_RANDOM;
        put(bpf_->maps.weft_slot, weft_slot_key{service.set, 0, 0}, weft_slot{backend, 1});
        put(bpf_->maps.weft_member, weft_member_key{service.service, backend, 0}, std::uint32_t{1});
        put(bpf_->maps.weft_service, frontend, service);
    }
    void add_endpoint(const Netns& netns, const std::string& ip) {
        weft_endpoint endpoint{};
        endpoint.workload = netns.cookie() * 1000;
        endpoint.addr4 = Ip::parse(ip)->raw();
        put(bpf_->maps.weft_endpoint, netns.cookie(), endpoint);
        put(bpf_->maps.weft_local, endpoint.addr4, netns.cookie());
    }

    weft_bpf* bpf_;
    ring_buffer* ring_ = nullptr;
    std::vector<bpf_link*> links_;
};

/// kube-proxy's shape at its plainest: one DNAT rule per Service.
void load_rules(const Pair& pair, std::size_t services) {
    const std::string path = fmt::format("/tmp/weft-connect-cost-{}", ::getpid());
    std::FILE* file = std::fopen(path.c_str(), "we");
    if (file == nullptr) {
        throw std::runtime_error("cannot write " + path);
    }
    fmt::print(file, "*nat\n");
    for (std::size_t i = 0; i < services; ++i) {
        fmt::print(file, "-A OUTPUT -d {}/32 -p tcp -m tcp --dport {} -j DNAT --to-destination {}:{}\n", vip(i), kPort,
                   pair.server_ip, kPort);
    }
    fmt::print(file, "COMMIT\n");
    (void)std::fclose(file);
    pair.client.shell("iptables-restore <" + path + "; code=$?; rm -f " + path + "; exit $code");
}

/// One way of connecting: its times, and how they compare with the direct connects of the same rounds.
struct Series {
    std::vector<double> ns;
    std::vector<double> ratio;

    void add(double value, double direct) {
        ns.push_back(value);
        ratio.push_back(direct / value);
    }
    [[nodiscard]] std::string time(const char* none) const {
        return ns.empty() ? none : fmt::format("{:.0f}", median(ns));
    }
    [[nodiscard]] std::string ratio_text(const char* none) const {
        return ns.empty() ? none : fmt::format("{:.3f}", median(ratio));
    }
};

void run(int connects, int rounds) {
    fmt::print(stderr, "{:>9} {:>10} {:>11} {:>7} {:>13} {:>7} {:>12} {:>7}\n", "services", "direct ns", "client ns",
               "ratio", "both ends ns", "ratio", "iptables ns", "ratio");
    std::string rows;
    const PrivateCgroup cgroup; // first: a socket belongs to the cgroup in which it was made
    const Pair pair("10.77.0");
    const Pair natted("10.78.0");
    const Acceptor governed(pair.server, SockAddr(pair.server_ip, kPort));
    const Acceptor behind_nat(natted.server, SockAddr(natted.server_ip, kPort));
    cgroup.leave();
    const Acceptor foreign(pair.server, SockAddr(pair.server_ip, kForeignPort));
    cgroup.join();
    for (const std::size_t services :
         {std::size_t{10}, std::size_t{1'000}, std::size_t{10'000}, std::size_t{100'000}}) {
        Hooks hooks(pair, services);
        const bool rules = services <= kLargestRuleset;
        if (rules) {
            load_rules(natted, services);
        }
        std::vector<double> direct;
        Series client;
        Series both;
        Series iptables;
        (void)pair.measure(pair.server_ip, connects / 4); // warms caches and neighbours
        for (int round = 0; round < rounds; ++round) {
            direct.push_back(pair.measure(pair.server_ip, connects));
            hooks.attach(cgroup.fd());
            client.add(pair.measure(vip(services - 1), connects, kForeignPort), direct.back());
            both.add(pair.measure(vip(services - 1), connects), direct.back());
            hooks.detach();
            if (rules) {
                iptables.add(natted.measure(vip(services - 1), connects), direct.back());
            }
        }
        fmt::print(stderr, "{:>9} {:>10.0f} {:>11} {:>7} {:>13} {:>7} {:>12} {:>7}\n", services, median(direct),
                   client.time("-"), client.ratio_text("-"), both.time("-"), both.ratio_text("-"), iptables.time("-"),
                   iptables.ratio_text("-"));
        rows += fmt::format("{}{{\"services\":{},\"direct_ns\":{:.0f},\"client_ns\":{},\"client_ratio\":{},"
                            "\"both_ns\":{},\"both_ratio\":{},\"iptables_ns\":{},\"iptables_ratio\":{}}}",
                            rows.empty() ? "" : ",", services, median(direct), client.time("null"),
                            client.ratio_text("null"), both.time("null"), both.ratio_text("null"),
                            iptables.time("null"), iptables.ratio_text("null"));
    }
    fmt::print("{{\"benchmark\":\"connect_cost\",\"connects\":{},\"rounds\":{},\"rows\":[{}]}}\n", connects, rounds,
               rows);
}

} // namespace
} // namespace weft::test

int main(int argc, char** argv) {
    try {
        weft::test::run(argc > 1 ? std::atoi(argv[1]) : 500, argc > 2 ? std::atoi(argv[2]) : 21);
    } catch (const std::exception& error) {
        fmt::print(stderr, "connect_cost: {}\n", error.what());
        return 1;
    }
    return 0;
}
