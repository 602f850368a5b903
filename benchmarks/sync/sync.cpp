// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How long do map writes take for 10,000 Services with 100,000 endpoints: the full sync into empty maps, the takeover
// after a restart, one change among them, and a drift check? Needs root: the maps are the kernel's. Compiling is not
// part of it. `rss_mb` is this process with the desired state and the reconciler's memory of the maps.
#include <benchmark/benchmark.h>

#include <fstream>
#include <string>

#include "agent/reconcile/reconciler.hpp"
#include "tests/bpf/reconcile/kernel_maps.hpp"
#include "tests/unit/reconcile/states.hpp"

namespace {

using weft::compiler::DesiredState;
using weft::reconcile::Reconciler;
using namespace weft::test;

constexpr int kServices = 10000;
constexpr int kBackends = 10;

weft_addr_port address(std::uint32_t base, std::uint32_t index, std::uint16_t port) {
    return weft::make_addr_port(weft::Ip::v4(htonl(base + index)), port, IPPROTO_TCP);
}

std::shared_ptr<const weft::compiler::ServiceFragment> fragment(std::uint32_t number, std::uint32_t generation) {
    auto made = std::make_shared<weft::compiler::ServiceFragment>();
    made->namespace_name = "bench";
    made->name = "service-" + std::to_string(number);
    made->protocol = IPPROTO_TCP;
    made->scope = "cluster";
    made->algorithm = "random";
    made->service_id = 1000 + number;
    made->set_id = std::uint64_t{generation} << 32 | (1000 + number);
    for (std::uint32_t b = 0; b < kBackends; ++b) {
        const weft_addr_port backend = address(0x0a000000, number * kBackends + b + generation, 8080);
        made->slots.push_back({backend, 1});
        weft::compiler::ServiceFragment::BackendInfo info;
        info.address = backend;
        info.pod = "service-" + std::to_string(number) + "-" + std::to_string(b);
        info.node = "node-1";
        made->backends.push_back(std::move(info));
    }
    weft_service value{};
    value.service = made->service_id;
    value.set = made->set_id;
    value.slot_count = kBackends;
    made->frontends.emplace_back(address(0x0a600000, number, 80), value);
    return made;
}

const DesiredState& cluster() {
    static const DesiredState desired = [] {
        DesiredState made;
        for (std::uint32_t i = 0; i < kServices; ++i) {
            auto one = fragment(i, 0);
            const auto id = one->service_id;
            made.services.insert_or_assign(id, std::move(one));
        }
        auto policy = std::make_shared<weft::compiler::PolicyImage>();
        for (std::uint32_t i = 0; i < kServices * kBackends; ++i) {
            policy->ipcache[address(0x0a000000, i, 0).addr] = {1000 + i % 5000, 0, 0};
        }
        made.policy = policy;
        return made;
    }();
    return desired;
}

double resident_mb() {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word) {
        if (word == "VmRSS:") {
            double kilobytes = 0;
            status >> kilobytes;
            return kilobytes / 1024;
        }
    }
    return 0;
}

weft::bpf::ConfigMaps fresh_maps() {
    return kernel_config_maps(262144);
}

bool sync(Reconciler& reconciler, const weft::bpf::ConfigMaps& maps, const DesiredState& desired) {
    if (!reconciler.bind(maps)) {
        return false;
    }
    const auto applied = reconciler.apply(desired);
    return applied && applied->failures.empty();
}

void full_sync(benchmark::State& state) {
    const DesiredState& desired = cluster();
    for (auto _ : state) {
        state.PauseTiming();
        const auto maps = fresh_maps();
        state.ResumeTiming();
        Reconciler reconciler;
        if (!sync(reconciler, maps, desired)) {
            state.SkipWithError("sync failed");
        }
        state.counters["rss_mb"] = resident_mb();
    }
}
BENCHMARK(full_sync)->Unit(benchmark::kMillisecond)->Iterations(3);

void takeover(benchmark::State& state) {
    const auto maps = fresh_maps();
    Reconciler first;
    if (!sync(first, maps, cluster())) {
        state.SkipWithError("sync failed");
    }
    for (auto _ : state) {
        Reconciler next;
        if (!sync(next, maps, cluster())) {
            state.SkipWithError("takeover failed");
        }
    }
}
BENCHMARK(takeover)->Unit(benchmark::kMillisecond)->Iterations(3);

void one_change(benchmark::State& state) {
    const auto maps = fresh_maps();
    DesiredState desired = cluster();
    Reconciler reconciler;
    if (!sync(reconciler, maps, desired)) {
        state.SkipWithError("sync failed");
    }
    std::uint32_t generation = 0;
    for (auto _ : state) {
        state.PauseTiming();
        auto changed = fragment(4711, ++generation);
        const auto id = changed->service_id;
        desired.services.insert_or_assign(id, std::move(changed));
        state.ResumeTiming();
        if (!reconciler.apply(desired)) {
            state.SkipWithError("apply failed");
        }
    }
}
BENCHMARK(one_change)->Unit(benchmark::kMicrosecond)->Iterations(200);

void drift_check(benchmark::State& state) {
    const auto maps = fresh_maps();
    Reconciler reconciler;
    if (!sync(reconciler, maps, cluster())) {
        state.SkipWithError("sync failed");
    }
    for (auto _ : state) {
        const auto report = reconciler.repair();
        if (!report || report->total() != 0) {
            state.SkipWithError("drift where none can be");
        }
    }
}
BENCHMARK(drift_check)->Unit(benchmark::kMillisecond)->Iterations(3);

} // namespace

BENCHMARK_MAIN();
