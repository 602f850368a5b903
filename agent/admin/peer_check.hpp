// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// May the process at the other end of this unix socket talk to the agent? Root and members of one group may.
#pragma once

#include <string>

#include <sys/types.h>

#include "weft/base/result.hpp"

namespace weft::admin {

/// Group id of a name, or -1 when there is no such group.
gid_t group_id(const std::string& name);

/// Succeeds when the peer of the connected socket `fd` was root or in group `allowed` when it connected.
/// Error: EACCES naming the uid; the system's own when the kernel does not tell.
Result<> check_peer(int fd, gid_t allowed);

} // namespace weft::admin
