// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does a scrape cost? A real weftd that knows 1,000 Pods of 125 Deployments, and a kernel that counted 1,000 pairs
// of them: 4,000 series of istio_tcp_* beside the rest. Needs root. `page_mb` is the page as it is, `wire_mb` what goes
// over the wire to who accepts gzip, as Prometheus does.
#include <benchmark/benchmark.h>
#include <bpf/bpf.h>

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "tests/support/agent_world.hpp"
#include "weft/abi/policy.h"
#include "weft/abi/reasons.h"
#include "weft/abi/traffic.h"

namespace {

using namespace weft::test;

constexpr unsigned kPods = 1000, kReplicas = 8, kPeers = 8;

std::string pods_yaml() {
    std::string text;
    for (unsigned i = 0; i < kPods; ++i) {
        text += fmt::format("apiVersion: v1\nkind: Pod\n"
                            "metadata: {{name: a-deployment-of-usual-length-{0}-7d9f8c6b5-{1:05}, namespace: shop-{2}, "
                            "labels: {{app: a-deployment-of-usual-length-{0}, version: v1.2.3, "
                            "pod-template-hash: 7d9f8c6b5}}}}\n"
                            "spec: {{nodeName: elsewhere, serviceAccountName: account-{0}, containers: []}}\n"
                            "status: {{phase: Running, podIPs: [{{ip: 10.{3}.{4}.1}}]}}\n---\n",
                            i / kReplicas, i, i / (kReplicas * 16), 100 + i / 250, i % 250);
    }
    return text;
}

/// Identities that the agent gave to the Pods.
std::vector<std::uint64_t> identities(const AgentWorld& world) {
    const weft::UniqueFd map(bpf_obj_get(world.map_path("weft_ipcache").c_str()));
    std::vector<std::uint64_t> found;
    weft_addr key{}, next{};
    for (void* from = nullptr; bpf_map_get_next_key(map.get(), from, &next) == 0; from = &key) {
        key = next;
        weft_peer peer{};
        if (bpf_map_lookup_elem(map.get(), &key, &peer) == 0 && peer.identity >= WEFT_IDENTITY_FIRST &&
            std::find(found.begin(), found.end(), peer.identity) == found.end()) {
            found.push_back(peer.identity);
        }
    }
    return found;
}

/// A body of GET /metrics inside the world's namespace, by curl.
std::string scrape(const AgentWorld& world, bool compressed) {
    std::vector<std::string> argv{"curl", "-s", "-S", "-m", "20", "http://127.0.0.1:9964/metrics"};
    if (compressed) {
        argv.insert(argv.end(), {"-H", "Accept-Encoding: gzip"});
    }
    return world.run(argv).output;
}

void scrapes(benchmark::State& state) {
    const AgentWorld world;
    world.write("pods.yaml", pods_yaml());
    AgentProcess agent(world, {"--traffic-grace", "3600"});
    if (!agent.notified("READY=1")) {
        state.SkipWithError(("weftd does not start: " + world.log()).c_str());
        return;
    }
    const auto all = identities(world);
    if (all.size() != kPods / kReplicas) {
        state.SkipWithError(fmt::format("{} identities, not {}", all.size(), kPods / kReplicas).c_str());
        return;
    }
    const weft::UniqueFd map(bpf_obj_get(world.map_path("weft_traffic").c_str()));
    for (unsigned i = 0; i < kPods; ++i) {
        weft_traffic_key key{};
        key.workload = all[i / kPeers];
        key.peer = all[(i * 7 + i / kPeers) % all.size()];
        key.direction = WEFT_EGRESS;
        const weft_traffic sum{1'000'000 + i, 999'999, 123'456'789'012, 98'765'432'109, 1};
        if (bpf_map_update_elem(map.get(), &key, &sum, BPF_NOEXIST) != 0) {
            state.SkipWithError("cannot fill weft_traffic");
            return;
        }
    }
    const auto page = scrape(world, false);
    std::size_t series = 0;
    for (auto at = page.find("\nistio_tcp_"); at != std::string::npos; at = page.find("\nistio_tcp_", at + 1)) {
        ++series;
    }
    if (series != std::size_t{kPods} * 4) {
        state.SkipWithError(fmt::format("{} series, not {}", series, kPods * 4).c_str());
        return;
    }
    // curl tells how long the answer took, so that its own start is not part of it.
    for (auto _ : state) {
        const auto took = world.run({"curl", "-s", "-o", "/dev/null", "-H", "Accept-Encoding: gzip", "-w",
                                     "%{time_total}", "http://127.0.0.1:9964/metrics"});
        state.SetIterationTime(std::stod(took.output));
    }
    state.counters["page_mb"] = static_cast<double>(page.size()) / 1e6;
    state.counters["wire_mb"] = static_cast<double>(scrape(world, true).size()) / 1e6;
    state.counters["series"] = static_cast<double>(series);
}
BENCHMARK(scrapes)->UseManualTime()->Iterations(30)->Repetitions(3)->Unit(benchmark::kMillisecond);

} // namespace

BENCHMARK_MAIN();
