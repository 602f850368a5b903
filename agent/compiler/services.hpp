// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One Service and its EndpointSlices as map entries for one node. The rules are kube-proxy's: which endpoints count,
// when traffic stays on the node or in the zone, and what happens when none is left.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/compiler/desired_state.hpp"

namespace weft::compiler {

/// Weights that Pods ask for by annotation: pods that say nothing are not listed.
using PodWeights = std::map<store::Name, std::uint32_t>;

/// What a Service is compiled for and with.
struct ServiceInput {
    const k8s::Service& service;
    const std::vector<std::shared_ptr<const k8s::EndpointSlice>>& slices;
    const std::string& node_name;
    const std::string& zone; ///< of this node, empty when unknown
    const PodWeights& weights;
};

/// One fragment per port, protocol, scope and address family. Faults go to `refusals`; the rest is compiled.
std::vector<std::shared_ptr<const ServiceFragment>> compile_service(const ServiceInput& input,
                                                                    std::vector<store::Refusal>& refusals);

/// The annotation weft.dev/weight of an object: 0 to 1000. Error: EINVAL with the remedy. nullopt: not given.
Result<std::optional<std::uint32_t>> weight_annotation(const k8s::Labels& annotations);

} // namespace weft::compiler
