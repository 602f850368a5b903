// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which devices of this network namespace are the host's ends of a pod's veth pairs? The kernel is asked which devices
// have their other end in the pod's namespace; nothing that a pod can name or number plays a part.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::bpf {

/// Interface indexes, in the calling thread's namespace, of veth devices whose peer is in the namespace at
/// `netns_path`. None: the pod is wired otherwise (ipvlan, macvlan, a physical device). Error: the namespace is gone
/// (ENOENT).
Result<std::vector<std::uint32_t>> host_ends(const std::string& netns_path);

} // namespace weft::bpf
