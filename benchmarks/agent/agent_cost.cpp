// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does the whole agent cost? A real weftd with its manifests in a world of its own: start until ready with many
// Services, memory at that size, the way of one changed file into the kernel's map, and what it costs while idle.
// Usage, as root: agent_cost [SERVICES] [ENDPOINTS OF EACH] [CHANGES] [IDLE SECONDS]
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>

#include "tests/support/agent_world.hpp"
#include "weft/abi/service.h"

namespace {

using namespace weft;
using namespace weft::test;
using Clock = std::chrono::steady_clock;

struct Sizes {
    unsigned services = 10000;
    unsigned endpoints = 10;
    unsigned changes = 300;
    unsigned idle_seconds = 20;
};

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// One "Vm...:" or "Rss...:" line of /proc/PID/status, in MB.
double memory_mb(pid_t pid, const std::string& key) {
    std::ifstream status(fmt::format("/proc/{}/status", pid));
    for (std::string word; status >> word;) {
        if (word == key + ":") {
            double kilobytes = 0;
            status >> kilobytes;
            return kilobytes / 1024;
        }
    }
    return 0;
}

/// Seconds of CPU time of all its threads so far.
double cpu_seconds(pid_t pid) {
    double total = 0;
    for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid))) {
        std::ifstream file(thread.path() / "schedstat");
        double nanoseconds = 0;
        file >> nanoseconds;
        total += nanoseconds / 1e9;
    }
    return total;
}

std::string service_ip(unsigned number) {
    return fmt::format("10.96.{}.{}", number / 250, number % 250 + 1);
}

std::string backend_ip(unsigned number) {
    return fmt::format("10.{}.{}.{}", 128 + number / 62500, number / 250 % 250, number % 250 + 1);
}

/// A Service as `kubectl get -o yaml` prints it, in what Weft reads.
std::string service_yaml(unsigned number) {
    return fmt::format(R"(---
apiVersion: v1
kind: Service
metadata:
  name: service-{0}
  namespace: bench
  labels:
    app: service-{0}
    team: payments
spec:
  type: ClusterIP
  clusterIP: {1}
  clusterIPs:
  - {1}
  selector:
    app: service-{0}
  ports:
  - name: http
    port: 80
    protocol: TCP
    targetPort: 8080
)",
                       number, service_ip(number));
}

std::string slice_yaml(unsigned number, unsigned endpoints, unsigned shift) {
    auto text = fmt::format(R"(---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: service-{0}-ipv4
  namespace: bench
  labels:
    kubernetes.io/service-name: service-{0}
    endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io
addressType: IPv4
ports:
- name: http
  port: 8080
  protocol: TCP
endpoints:
)",
                            number);
    for (unsigned i = 0; i < endpoints; ++i) {
        text += fmt::format(R"(- addresses:
  - {}
  conditions:
    ready: true
    serving: true
    terminating: false
  nodeName: node-{}
  zone: zone-{}
  targetRef:
    kind: Pod
    name: service-{}-{}
    namespace: bench
)",
                            backend_ip(number * endpoints + i + shift), i % 100, i % 3, number, i);
    }
    return text;
}

/// Files of 100 Services each, and one file with only the slice that will change.
void write_cluster(const AgentWorld& world, const Sizes& sizes) {
    world.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: bench\n");
    for (unsigned first = 0; first < sizes.services; first += 100) {
        std::string text;
        for (unsigned i = first; i < std::min(first + 100, sizes.services); ++i) {
            text += service_yaml(i);
            text += i == 0 ? "" : slice_yaml(i, sizes.endpoints, 0);
        }
        world.write(fmt::format("services-{:05}.yaml", first), text);
    }
    world.write("changing.yaml", slice_yaml(0, sizes.endpoints, 0));
}

/// The backend set that the kernel uses for the changing Service now; 0 when it has none.
std::uint64_t present_set(int map) {
    const auto key = make_addr_port(*Ip::parse(service_ip(0)), 80, IPPROTO_TCP);
    weft_service value{};
    return bpf_map_lookup_elem(map, &key, &value) == 0 ? value.set : 0;
}

std::vector<double> change_latencies(const AgentWorld& world, const Sizes& sizes) {
    std::vector<double> milliseconds;
    for (unsigned change = 1; change <= sizes.changes; ++change) {
        const UniqueFd map(bpf_obj_get(world.map_path("weft_service").c_str()));
        const auto before = present_set(map.get());
        const auto text = slice_yaml(0, sizes.endpoints, change % 2 == 1 ? 100000 : 0);
        (void)::poll(nullptr, 0, 20 + static_cast<int>(change * 7 % 13)); // in no step with the agent's own timers
        const auto start = Clock::now();
        world.write("changing.yaml", text);
        while (present_set(map.get()) == before) {
            if (seconds_since(start) > 10) {
                throw std::runtime_error("a change did not reach the map in 10 s");
            }
        }
        milliseconds.push_back(seconds_since(start) * 1e3);
    }
    std::ranges::sort(milliseconds);
    return milliseconds;
}

double percentile(const std::vector<double>& sorted, double share) {
    return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

struct Start {
    double seconds = 0, cpu = 0, rss = 0, anonymous = 0;
};

Start timed_start(std::unique_ptr<AgentProcess>& agent, const AgentWorld& world) {
    const auto start = Clock::now();
    agent = std::make_unique<AgentProcess>(world);
    if (!agent->notified("READY=1", 120)) {
        throw std::runtime_error("weftd did not become ready:\n" + world.log());
    }
    return {seconds_since(start), cpu_seconds(agent->pid()), memory_mb(agent->pid(), "VmRSS"),
            memory_mb(agent->pid(), "RssAnon")};
}

nlohmann::json large(const Sizes& sizes) {
    const AgentWorld world;
    write_cluster(world, sizes);
    std::unique_ptr<AgentProcess> agent;
    const auto cold = timed_start(agent, world);
    const double peak = memory_mb(agent->pid(), "VmHWM");
    const double cpu_before = cpu_seconds(agent->pid());
    const auto latencies = change_latencies(world, sizes);
    const double change_cpu = (cpu_seconds(agent->pid()) - cpu_before) / static_cast<double>(sizes.changes) * 1e3;
    const double after = memory_mb(agent->pid(), "VmRSS");
    (void)agent->stop();
    const auto again = timed_start(agent, world);
    (void)agent->stop();
    nlohmann::json result{{"services", sizes.services},
                          {"endpoints", sizes.services * sizes.endpoints},
                          {"cold_start_s", cold.seconds},
                          {"cold_start_cpu_s", cold.cpu},
                          {"restart_s", again.seconds},
                          {"rss_mb", cold.rss},
                          {"rss_anonymous_mb", cold.anonymous},
                          {"rss_peak_mb", peak},
                          {"rss_after_changes_mb", after},
                          {"changes", latencies.size()},
                          {"change_p50_ms", percentile(latencies, 0.5)},
                          {"change_p99_ms", percentile(latencies, 0.99)},
                          {"change_max_ms", latencies.back()},
                          {"change_cpu_ms", change_cpu}};
    std::fprintf(
        stderr,
        "%u Services, %u endpoints\n  cold start until ready   %6.2f s (%.2f s of CPU)\n"
        "  restart, maps in place   %6.2f s\n  resident when ready      %6.1f MB (own %.1f, peak %.1f)\n"
        "  resident after changes   %6.1f MB\n  file change -> map       p50 %.2f ms, p99 %.2f ms, max %.2f ms\n"
        "  CPU for one change       %6.2f ms\n",
        sizes.services, sizes.services * sizes.endpoints, cold.seconds, cold.cpu, again.seconds, cold.rss,
        cold.anonymous, peak, after, percentile(latencies, 0.5), percentile(latencies, 0.99), latencies.back(),
        change_cpu);
    return result;
}

nlohmann::json idle(const Sizes& sizes) {
    const AgentWorld world;
    write_cluster(world, {2, 2, 0, 0});
    std::unique_ptr<AgentProcess> agent;
    (void)timed_start(agent, world);
    (void)::poll(nullptr, 0, 1000); // the last of the start
    const double before = cpu_seconds(agent->pid());
    const auto start = Clock::now();
    (void)::poll(nullptr, 0, static_cast<int>(sizes.idle_seconds) * 1000);
    const double per_minute = (cpu_seconds(agent->pid()) - before) / seconds_since(start) * 60 * 1e3;
    const double rss = memory_mb(agent->pid(), "VmRSS");
    const double anonymous = memory_mb(agent->pid(), "RssAnon");
    std::fprintf(stderr,
                 "2 Services, idle\n  resident                 %6.1f MB (own %.1f)\n  CPU in a minute %15.1f ms\n", rss,
                 anonymous, per_minute);
    return {{"services", 2}, {"rss_mb", rss}, {"rss_anonymous_mb", anonymous}, {"cpu_ms_per_minute", per_minute}};
}

} // namespace

int main(int argc, char** argv) {
    Sizes sizes;
    unsigned* const wanted[] = {&sizes.services, &sizes.endpoints, &sizes.changes, &sizes.idle_seconds};
    for (int i = 1; i < argc && i <= 4; ++i) {
        *wanted[i - 1] = static_cast<unsigned>(std::strtoul(argv[i], nullptr, 10));
    }
    try {
        const auto at_rest = idle(sizes);
        const auto loaded = large(sizes);
        std::printf("%s\n", nlohmann::json{{"idle", at_rest}, {"large", loaded}}.dump().c_str());
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "agent_cost: %s\n", failure.what());
        return 1;
    }
}
