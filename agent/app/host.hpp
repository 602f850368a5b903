// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Facts about the node that the agent runs on: its addresses, its network namespace, its cgroup v2 mount.
// Thread: control.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "weft/base/ip.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::app {

/// Every address of this namespace, loopback and link-local ones left out, sorted.
Result<std::vector<Ip>> host_addresses();

/// A netlink socket that becomes readable when an address is added or removed.
Result<UniqueFd> watch_addresses();
/// Empties it.
void drain(int fd);

/// Where cgroup v2 is mounted (unified or hybrid). Error: ENOENT with the mount command.
Result<std::string> cgroup2_mount();

/// Cookie of this process's network namespace.
Result<std::uint64_t> own_netns_cookie();

} // namespace weft::app
