// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Readiness probes as a kubelet runs them: from the node's network namespace to the pod's address, or a command inside
// the pod. Blocks; runs on a worker thread.
#pragma once

#include <string>

#include "agent/k8s/objects.hpp"
#include "weft/base/result.hpp"

namespace weft::lab {

/// Where one probe runs.
struct ProbeTarget {
    std::string node_netns = {}; ///< path; kTcp and kHttp connect from here
    std::string pod_netns = {};  ///< path; kExec runs here
    std::string pod_cgroup = {}; ///< absolute path; kExec runs here
    std::vector<std::string> env = {};
    Ip ip = {};
    std::uint16_t port = 0; ///< resolved
};

/// The probe's port as a number; 0 when it names a port that the container does not declare.
std::uint16_t probe_port(const k8s::Probe& probe, const k8s::Container& container);

/// One try. The error says what went wrong.
Result<> check_readiness(const k8s::Probe& probe, const ProbeTarget& target);

} // namespace weft::lab
