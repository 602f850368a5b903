// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Answers probes inside a pod: says the pod's name to whoever reaches one of the ports over TCP, UDP or SCTP.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include "weft/base/result.hpp"

namespace weft::lab {

/// IPPROTO_*, port
using ListenPort = std::pair<std::uint8_t, std::uint16_t>;

/// Every answer begins with this, followed by the name of who answers.
inline constexpr std::string_view kAnswerMark = "weft-lab ";

/// Runs in the pod until killed. Writes one line for each port to `output` as soon as it is known: "PROTO PORT open"
/// or "PROTO PORT taken" (the application listens there itself), or "error TEXT"; then "done".
void respond(const std::string& name, const std::set<ListenPort>& ports, int output);

} // namespace weft::lab
