// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/config_maps.hpp"

#include <algorithm>
#include <bit>

namespace weft::bpf {

std::uint32_t capacity_for(std::uint32_t entries, std::uint32_t minimum) {
    constexpr std::uint32_t kMost = 1u << 28; // the kernel refuses far larger hash maps anyway
    return std::max(minimum, std::bit_ceil(std::min(entries, kMost / 2) * 2));
}

bool fits(const MapSizes& entries, const ConfigMaps& maps) {
    return std::ranges::all_of(kConfigMaps, [&](const ConfigMapField& field) {
        if (field.size == nullptr) {
            return true;
        }
        return std::uint64_t{entries.*field.size} * 4 <= std::uint64_t{(maps.*field.map)->max_entries()} * 3;
    });
}

} // namespace weft::bpf
