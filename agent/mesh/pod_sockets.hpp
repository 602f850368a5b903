// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The agent's listeners inside one pod's network namespace: one for the pod's own applications that dial out, one for
// encrypted connections from other nodes, each for IPv4 and IPv6. Thread: control makes them, workers accept from them.
#pragma once

#include <cstdint>
#include <string>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::mesh {

struct PodSockets {
    UniqueFd netns;
    std::uint16_t dial_port = 0; ///< of both dial listeners, on loopback
    UniqueFd dial4, dial6; ///< dial6 is invalid in a namespace without IPv6
    UniqueFd carrier4, carrier6; ///< on a loopback port that nobody knows: only the steering program leads there
};

/// Makes them from a short-lived child inside `cgroup`, so that packets of encrypted connections pass the hooks that
/// are attached there: a socket belongs to the cgroup of whoever made it, and what it accepts to the same. Errors: the
/// namespace is gone (ENOENT), no permission, no free port.
Result<PodSockets> make_pod_sockets(const std::string& netns_path, const std::string& cgroup);

} // namespace weft::mesh
