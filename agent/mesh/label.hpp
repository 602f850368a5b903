// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What this agent writes on the things that weft-relay holds for it, so that the next agent knows them: listeners in
// pods, connections of applications that nobody has begun to read, and connections that are carried.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "agent/mesh/stats.hpp"

namespace weft::mesh {

enum class ListenerRole : std::uint8_t { kDial4, kDial6, kCarrier4, kCarrier6 };
inline constexpr int kListenerRoles = 4;

/// One of a pod's listeners.
struct ListenerLabel {
    std::uint64_t netns_cookie = 0;
    ListenerRole role{};
};

/// A connection that an application has made and that waits for its other half.
struct WaitingLabel {
    std::uint64_t netns_cookie = 0;
};

/// monostate: written by another version, or cut.
using Label = std::variant<std::monostate, ListenerLabel, WaitingLabel, ConnectionFacts>;

std::string write_label(const ListenerLabel& label);
std::string write_label(const WaitingLabel& label);
/// At most WEFT_RELAY_LABEL bytes: what is only for people is left out when it does not fit, and all when the
/// identities do not. A connection without a label is reset by the next agent, as nobody could revoke it.
std::string write_label(const ConnectionFacts& facts);
Label read_label(std::string_view text);

/// Under which number weft-relay keeps a listener: no connection has it, see Stats::reserve().
std::uint64_t listener_id(const ListenerLabel& label);

} // namespace weft::mesh
