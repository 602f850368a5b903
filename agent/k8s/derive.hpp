// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The small part of the control plane that `weft lab` and `weft simulate` play: pods of Deployments, nodes for pods,
// EndpointSlices of Services. Pure functions; the agent itself never uses them.
#pragma once

#include <vector>

#include "agent/k8s/objects.hpp"

namespace weft::k8s {

/// The pods of a Deployment: names "<deployment>-<index>" from 0, labels and annotations of its template.
std::vector<Pod> expand_deployment(const Deployment& deployment);

/// Gives each pod without spec.nodeName the schedulable node that has the fewest unfinished pods, in the order of
/// node names on a tie, pods taken in the given order. Without a schedulable node the pod stays without one.
void schedule(std::vector<Pod>& pods, const std::vector<Node>& nodes);

/// The EndpointSlices that Kubernetes' controller would write for `service`: per address family, grouped by the ports
/// that its pods' named target ports resolve to, at most 1000 endpoints each. Empty without a selector and for
/// ExternalName. `pods` may be of any namespace. Deterministic: equal input, equal output.
std::vector<EndpointSlice> derive_slices(const Service& service, const std::vector<Pod>& pods,
                                         const std::vector<Node>& nodes);

} // namespace weft::k8s
