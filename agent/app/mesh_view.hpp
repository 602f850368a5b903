// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What do the cluster's objects mean for the mesh's workers? Pure functions of a snapshot.
#pragma once

#include <set>
#include <string>

#include "agent/compiler/transit.hpp"
#include "agent/mesh/view.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::app {

/// Enrolled pods of this node, and who may be at the addresses of other nodes' pods; without certificates. A pod whose
/// names make no identity is left out: nothing can prove who it is. A pod that leaves is still served.
mesh::View mesh_view(const store::Snapshot& snapshot, const std::string& node_name, const std::string& trust_domain,
                     const compiler::InTransit& in_transit);

/// The identities that the view's workloads need.
std::set<SpiffeId> identities_of(const mesh::View& view);

/// The text of the file by which this node publishes which of its pods are enrolled, for whoever writes the Pod objects
/// to set the annotation weft.dev/enrolled: {"pods": [{"namespace", "name", "uid"}]}.
std::string enrolled_text(const store::Snapshot& snapshot, const std::set<std::uint64_t>& netns_cookies);

} // namespace weft::app
