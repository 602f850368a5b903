// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which endpoints of a Service are used from this node? Conditions, traffic policy, hints and distribution decide, as
// kube-proxy decides; what is not used is kept in the list, so that `weft service list` can show why.
#pragma once

#include <vector>

#include "agent/compiler/services.hpp"

namespace weft::compiler {

/// One endpoint for one port of a Service.
struct Candidate {
    weft_addr_port address{};
    const k8s::SliceEndpoint* endpoint = nullptr; ///< borrowed from the slice
    std::uint32_t weight = 1;
    bool ready = true; ///< also when the Service publishes addresses that are not
    bool used = false;
};

/// Every endpoint of this family, sorted by address, with `used` decided. `external`: for the addresses that clients
/// outside the cluster dial, which internalTrafficPolicy does not concern.
std::vector<Candidate> candidates_of(const ServiceInput& input, const k8s::ServicePort& port, bool v4, bool external);

} // namespace weft::compiler
