// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A range of ports as the fewest prefixes, because the kernel looks ports up by longest prefix.
#pragma once

#include <cstdint>
#include <vector>

namespace weft::compiler {

/// Ports whose first `bits` of 16 bits are those of `port`.
struct PortPrefix {
    std::uint16_t port = 0;
    int bits = 16;

    friend bool operator==(const PortPrefix&, const PortPrefix&) = default;
};

/// The fewest prefixes that cover first..last and nothing else; at most 30.
std::vector<PortPrefix> port_prefixes(std::uint16_t first, std::uint16_t last);

} // namespace weft::compiler
