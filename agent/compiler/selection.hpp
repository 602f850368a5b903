// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// From weighted backends to the slots that the kernel chooses among.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "weft/abi/service.h"

namespace weft::compiler {

/// WEFT_ALGORITHM_* of an annotation value; nullopt for an unknown one.
std::optional<std::uint16_t> algorithm_number(std::string_view name);
/// The annotation value of WEFT_ALGORITHM_*.
std::string algorithm_name(std::uint16_t number);

/// A backend with its weight, 1 or more.
struct Weighted {
    weft_addr_port backend{};
    std::uint32_t weight = 1;
};

/// Slots for `algorithm`, at most WEFT_MAX_SLOTS. `backends` must be sorted and at most WEFT_MAX_SLOTS.
/// random, round-robin: a backend of weight n stands in n slots, spread evenly. Others: one slot each, with its weight.
std::vector<weft_slot> make_slots(const std::vector<Weighted>& backends, std::uint16_t algorithm);

} // namespace weft::compiler
