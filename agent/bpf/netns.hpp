// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does the agent act inside another network namespace? In a thread of its own that ends afterwards, so that no
// thread of the agent is ever left in a foreign namespace.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "weft/base/result.hpp"

namespace weft::bpf {

/// Runs `action` in a fresh thread inside the network namespace at `path` ("/proc/PID/ns/net", "/run/netns/NAME") and
/// waits for it. Errors: the namespace is gone (ENOENT), no permission, or the action's own.
Result<> in_netns(const std::string& path, const std::function<Result<>()>& action);

/// The kernel's number for a network namespace (SO_NETNS_COOKIE), never reused while the machine runs.
Result<std::uint64_t> netns_cookie(const std::string& path);

} // namespace weft::bpf
