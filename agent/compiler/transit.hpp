// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which pods have entered or left the mesh so lately that other nodes may not know it yet? Nodes hear of a change at
// different times. So a pod that enters is served by mutual TLS at once and dials by it later; one that leaves dials no
// more at once and is served longer.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>

#include "agent/store/snapshot.hpp"

namespace weft::compiler {

/// Pods by name.
struct InTransit {
    std::set<store::Name> entering; ///< of this node: were running outside of the mesh a moment ago
    std::set<store::Name> leaving; ///< of any node: their publication was withdrawn a moment ago

    friend bool operator==(const InTransit&, const InTransit&) = default;
};

class Transit {
public:
    using Clock = std::chrono::steady_clock;
    /// From the label on a running pod to its first connection by mutual TLS. A pod that is new does not wait: whoever
    /// knows its address knows its labels.
    static constexpr std::chrono::seconds kEntering{5};
    /// From the end of the publication to the end of the service.
    static constexpr std::chrono::seconds kLeaving{30};

    /// Looks for what has changed since the last call, with the pods that are in transit then.
    const InTransit& update(const store::Snapshot& snapshot, Clock::time_point now);
    /// When the next of them arrives; nothing when all have.
    [[nodiscard]] std::optional<Clock::time_point> next() const;

private:
    void see_entering(const store::Snapshot& snapshot, Clock::time_point now);
    void see_leaving(const store::Snapshot& snapshot, Clock::time_point now);

    using Until = std::map<store::Name, Clock::time_point>;
    std::shared_ptr<const store::Table<k8s::Pod>> last_;
    std::set<store::Name> outside_; ///< of this node, as of the last call
    Until entering_;
    Until leaving_;
    InTransit in_transit_;
};

} // namespace weft::compiler
