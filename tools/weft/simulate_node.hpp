// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The parts of a simulated cluster that its two source files share.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>

#include "tools/weft/simulate_cluster.hpp"

namespace weft::simulate {

/// One node: what its agent would write, and the decision over it.
struct Cluster::Node {
    compiler::DesiredState desired;
    std::unique_ptr<verdict::PolicyIndex> index;
    compiler::Image<weft_addr_port, const compiler::ServiceFragment*> frontends; ///< owned by `desired`

    /// The Service behind an address that a workload of this node dials, node ports included; null when there is none.
    [[nodiscard]] const compiler::ServiceFragment* service_at(const Ip& ip, std::uint16_t port,
                                                              std::uint8_t protocol) const;
};

/// One end of a probe: a pod with a policy of its own, a node, or only an address.
struct Cluster::Party {
    std::vector<Ip> ips;
    const Node* node = nullptr; ///< whose hooks act on what it dials; null for hosts outside
    std::uint64_t cookie = 0; ///< 0: no policy applies to it
    std::string name; ///< "ns/pod", "node/NAME" or "ip:ADDR"

    [[nodiscard]] std::optional<Ip> of_family(bool v4) const {
        const auto found = std::ranges::find(ips, v4, &Ip::is_v4);
        return found == ips.end() ? std::nullopt : std::optional(*found);
    }
};

} // namespace weft::simulate
