// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The parts of a simulated cluster that its two source files share.
#pragma once

#include <memory>

#include "tools/weft/simulate_cluster.hpp"

namespace weft::simulate {

/// One node: what its agent would write, and the decision over it.
struct Cluster::Node {
    compiler::DesiredState desired;
    std::unique_ptr<verdict::PolicyIndex> index;
};

/// One end of a probe: a pod with a policy of its own, or only an address.
struct Cluster::Party {
    Ip ip4, ip6;              ///< unspecified when it has none
    const k8s::Pod* pod = nullptr;
    const Node* node = nullptr; ///< of the pod, when policy applies to it
    std::uint64_t cookie = 0;
    std::string name;         ///< "ns/pod"; empty for addresses

    [[nodiscard]] const Ip& ip(bool v4) const { return v4 ? ip4 : ip6; }
};

} // namespace weft::simulate
