// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/traffic.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "agent/bpf/datapath.hpp"
#include "agent/bpf/kernel_map.hpp"
#include "weft/abi/reasons.h"

namespace weft::bpf {
namespace {

Result<UniqueFd> own_map(const Datapath& datapath, const char* name) {
    WEFT_ASSIGN(const int fd, datapath.map_fd(name));
    return duplicate(fd);
}

template <typename T>
T value_of(Bytes bytes) {
    T value{};
    std::memcpy(&value, bytes.data(), std::min(bytes.size(), sizeof value));
    return value;
}

/// Calls `visit` for each entry of the map behind `fd`.
Result<> visit_all(const UniqueFd& fd, const std::function<void(Bytes, Bytes)>& visit) {
    WEFT_ASSIGN(auto copy, duplicate(fd.get()));
    WEFT_ASSIGN(const auto map, KernelMap::open(std::move(copy)));
    return map->for_each(visit);
}

} // namespace

Result<std::unique_ptr<TrafficMaps>> TrafficMaps::open(const Datapath& datapath) {
    auto maps = std::make_unique<TrafficMaps>();
    WEFT_ASSIGN(maps->sums_, own_map(datapath, "weft_traffic"));
    WEFT_ASSIGN(maps->others_, own_map(datapath, "weft_others"));
    WEFT_ASSIGN(maps->durations_, own_map(datapath, "weft_durations"));
    WEFT_ASSIGN(maps->rule_drops_, RuleDropsMap::open(datapath));
    WEFT_ASSIGN(const int program, datapath.program_fd("weft_forget"));
    WEFT_ASSIGN(maps->forget_, duplicate(program));
    return maps;
}

Result<std::vector<Traffic>> TrafficMaps::read() const {
    std::vector<Traffic> all;
    WEFT_TRY(visit_all(sums_, [&](Bytes key, Bytes value) {
        all.push_back({value_of<weft_traffic_key>(key), value_of<weft_traffic>(value)});
    }));
    WEFT_TRY(visit_all(others_, [&](Bytes key, Bytes value) {
        const auto others = value_of<weft_others>(value);
        for (std::uint8_t i = 0; i < 4; ++i) {
            if (others.sum[i].opened != 0) {
                weft_traffic_key other{};
                other.workload = value_of<std::uint64_t>(key);
                other.peer = WEFT_TRAFFIC_OTHER;
                other.direction = static_cast<std::uint8_t>(i >> 1);
                other.mutual_tls = i & 1;
                all.push_back({other, others.sum[i]});
            }
        }
    }));
    return all;
}

Result<std::vector<std::uint64_t>> TrafficMaps::workloads() const {
    std::vector<std::uint64_t> all;
    WEFT_TRY(visit_all(others_, [&](Bytes key, Bytes) { all.push_back(value_of<std::uint64_t>(key)); }));
    return all;
}

Result<std::vector<weft_histogram>> TrafficMaps::durations() const {
    const int cpus = libbpf_num_possible_cpus();
    if (cpus <= 0) {
        return failure(-cpus, "counting the possible CPUs: {}", std::strerror(-cpus));
    }
    std::vector<weft_histogram> sums(std::size_t{WEFT_DURATION_COUNT} * WEFT_DIRECTION_COUNT);
    std::vector<weft_histogram> values(static_cast<std::size_t>(cpus));
    for (std::uint32_t index = 0; index < sums.size(); ++index) {
        if (::bpf_map_lookup_elem(durations_.get(), &index, values.data()) != 0) {
            return system_failure("reading map weft_durations");
        }
        for (const auto& value : values) {
            sums[index].sum_us += value.sum_us;
            for (std::size_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; ++i) {
                sums[index].bucket[i] += value.bucket[i];
            }
        }
    }
    return sums;
}

Result<> TrafficMaps::forget(const weft_traffic_key& key) const {
    weft_forget_args args{};
    args.key = key;
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.ctx_in = &args;
    options.ctx_size_in = sizeof args;
    if (::bpf_prog_test_run_opts(forget_.get(), &options) != 0) {
        return system_failure("running weft_forget");
    }
    return {};
}

Result<> TrafficMaps::forget_workload(std::uint64_t identity) const {
    if (::bpf_map_delete_elem(others_.get(), &identity) != 0 && errno != ENOENT) {
        return system_failure("removing from map weft_others");
    }
    return {};
}

} // namespace weft::bpf
