// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Is a pod's traffic inside its node to skip TCP/IP?
#pragma once

#include <vector>

#include "agent/compiler/compiler.hpp"

namespace weft::compiler {

/// Label on pods and namespaces: "auto", "on" or "off"; the pod's own wins, then its namespace's, then the node's
/// configuration. Where the configuration says off, nothing else counts.
inline constexpr const char* kAccelerationLabel = "weft.dev/acceleration";

/// True when connections between this pod and others of its node, of which this is true as well, may be joined. A label
/// with another value is refused and counts as off, which is always right. Pods on the host's network never are.
bool accelerated(const store::Snapshot& snapshot, const k8s::Pod& pod, const NodeContext& node,
                 std::vector<store::Refusal>& refusals);

} // namespace weft::compiler
