// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Between which two nodes of the service map does a flow run? Pods of one controller are one node; what no pod stands
// behind is one node for each kind, so that addresses outside the cluster do not make thousands. Pure.
#pragma once

#include <compare>
#include <string>

namespace flow {
class Flow;
class Endpoint;
} // namespace flow
namespace weft::admin {
class Endpoint;
} // namespace weft::admin

namespace weft::ui {

/// One node of the map. `id` is unique: "NAMESPACE/NAME" of a workload, else it begins with '@'.
struct MapNode {
    std::string id;
    std::string kind;           ///< "workload", "service" (nobody stands behind it), "node", "host", "remote-node",
                                ///< "world", "other" (what the map has no room for)
    std::string namespace_name; ///< of a workload or Service
    std::string name;           ///< what is shown

    auto operator<=>(const MapNode&) const = default;
};

/// Who opened it.
MapNode source_of(const flow::Flow& flow);
/// Who was to receive it: the workload behind a Service, or the Service itself when no backend was chosen.
MapNode destination_of(const flow::Flow& flow);
/// The workload of a pod that an agent lists.
MapNode workload_of(const admin::Endpoint& endpoint);
/// The node that stands for all for which there is no room.
MapNode other_node();

} // namespace weft::ui
