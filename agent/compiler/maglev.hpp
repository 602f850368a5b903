// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Consistent hashing after Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
// section 3.4, with weights. The table depends on the backends' addresses alone, so every node builds the same one.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "weft/abi/service.h"

namespace weft::compiler {

/// For each of WEFT_MAGLEV_SIZE hash values the index of a slot. `slots` must not be empty and must be in one order
/// for one set (sorted by address); their weights decide their share.
std::vector<std::uint16_t> maglev_table(std::span<const weft_slot> slots);

} // namespace weft::compiler
