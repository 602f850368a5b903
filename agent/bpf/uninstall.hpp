// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does everything that Weft has put into the kernel go again, without an agent?
#pragma once

#include <string>

#include "weft/base/result.hpp"

namespace weft::bpf {

/// The cgroup, below the governed one, in which the agent makes the mesh's sockets.
inline constexpr const char* kMeshCgroup = "weft-mesh";

/// Detaches every hook, also from pods' devices in this network namespace, and removes every pin below `pin_dir`, of
/// all ABI versions, and the mesh's cgroup. Nothing there is no error.
Result<> uninstall(const std::string& pin_dir);

} // namespace weft::bpf
