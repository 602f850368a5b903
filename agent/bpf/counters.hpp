// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What do the kernel's per-CPU counters say, summed over the CPUs?
#pragma once

#include <cstdint>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::bpf {

/// Sum of each entry of a per-CPU array of __u64 (weft_counters: index enum weft_counter; weft_drops: index reason *
/// WEFT_DIRECTION_COUNT + direction). Error: not such a map.
Result<std::vector<std::uint64_t>> read_counters(int map_fd);

} // namespace weft::bpf
