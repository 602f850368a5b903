// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/counters.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include <numeric>

#include "agent/bpf/kernel_map.hpp"

namespace weft::bpf {

Result<std::vector<std::uint64_t>> read_counters(int map_fd) {
    WEFT_ASSIGN(const MapFacts facts, map_facts(map_fd));
    if (facts.type != BPF_MAP_TYPE_PERCPU_ARRAY || facts.value_size != sizeof(std::uint64_t)) {
        return invalid("map {} is no per-CPU array of counters", facts.name);
    }
    const int cpus = libbpf_num_possible_cpus();
    if (cpus <= 0) {
        return failure(-cpus, "counting the possible CPUs: {}", std::strerror(-cpus));
    }
    std::vector<std::uint64_t> sums(facts.max_entries);
    std::vector<std::uint64_t> values(static_cast<std::size_t>(cpus));
    for (std::uint32_t index = 0; index < facts.max_entries; ++index) {
        if (bpf_map_lookup_elem(map_fd, &index, values.data()) != 0) {
            return system_failure("reading map {}", facts.name);
        }
        sums[index] = std::accumulate(values.begin(), values.end(), std::uint64_t{0});
    }
    return sums;
}

} // namespace weft::bpf
