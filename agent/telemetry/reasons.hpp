// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What are the kernel's outcome numbers called, and did the packet or call survive? One table, from the ABI's list.
#pragma once

#include <cstdint>
#include <string_view>

#include "weft/abi/reasons.h"

namespace weft::telemetry {

/// Label as in metrics and flows: "policy-denied"; "unknown" for a number that this version does not know.
std::string_view reason_label(std::uint8_t reason);
/// What happened and what became of the packet or call.
std::string_view reason_help(std::uint8_t reason);
/// True when the packet or call was refused; false when it went on in another way (a fallback).
bool reason_refuses(std::uint8_t reason);
/// "ingress" or "egress".
std::string_view direction_label(std::uint8_t direction);

} // namespace weft::telemetry
