// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/port_ranges.hpp"

namespace weft::compiler {

std::vector<PortPrefix> port_prefixes(std::uint16_t first, std::uint16_t last) {
    std::vector<PortPrefix> prefixes;
    std::uint32_t start = first;
    while (start <= last) {
        // The largest block that begins here: limited by alignment, then by the end of the range.
        int bits = 16;
        std::uint32_t size = 1;
        while (bits > 0 && start % (size * 2) == 0 && start + size * 2 - 1 <= last) {
            size *= 2;
            --bits;
        }
        prefixes.push_back({static_cast<std::uint16_t>(start), bits});
        start += size;
    }
    return prefixes;
}

} // namespace weft::compiler
