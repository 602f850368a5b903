// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/candidates.hpp"

#include <algorithm>
#include <charconv>

namespace weft::compiler {
namespace {

using k8s::Service;
using k8s::ServicePort;

constexpr const char* kWeight = "weft.dev/weight";

/// Marks candidates that satisfy `keep`; true when there was one.
template <typename Keep>
bool use(std::vector<Candidate>& candidates, Keep keep) {
    bool any = false;
    for (auto& candidate : candidates) {
        candidate.used = keep(candidate);
        any |= candidate.used;
    }
    return any;
}

/// Endpoints that the control plane meant for `place`, when every ready one says for whom it is meant. As in kube-proxy
/// since 1.31, hints need no annotation to be followed, and one ready endpoint without them makes all of them void.
bool use_hinted(std::vector<Candidate>& all, std::vector<std::string> k8s::SliceEndpoint::* hints,
                const std::string& place) {
    const bool complete =
        std::ranges::all_of(all, [&](const Candidate& c) { return !c.ready || !(c.endpoint->*hints).empty(); });
    return complete &&
           use(all, [&](const Candidate& c) { return c.ready && std::ranges::count(c.endpoint->*hints, place) > 0; });
}

/// kube-proxy's choice: ready ones, near ones first where hints or the Service ask for it, and draining ones as the
/// last resort. Slices from a folder carry no hints: what the control plane would have written is found here.
void choose(std::vector<Candidate>& all, const ServiceInput& input, bool local_only) {
    const auto near = [&](const Candidate& c) { return c.endpoint->node_name == input.node_name; };
    const auto draining = [](const Candidate& c) { return c.endpoint->serving && c.endpoint->terminating; };
    if (local_only) {
        if (!use(all, [&](const Candidate& c) { return c.ready && near(c); })) {
            use(all, [&](const Candidate& c) { return draining(c) && near(c); });
        }
        return;
    }
    if (use_hinted(all, &k8s::SliceEndpoint::hint_nodes, input.node_name) ||
        use_hinted(all, &k8s::SliceEndpoint::hint_zones, input.zone)) {
        return;
    }
    const bool hinted = std::ranges::any_of(all, [](const Candidate& c) {
        return c.ready && (!c.endpoint->hint_zones.empty() || !c.endpoint->hint_nodes.empty());
    });
    using enum Service::Distribution;
    const auto distribution = hinted ? kAny : input.service.distribution; // somebody else computes it already
    const auto same_zone = [&](const Candidate& c) { return !input.zone.empty() && c.endpoint->zone == input.zone; };
    if (distribution == kPreferSameNode && use(all, [&](const Candidate& c) { return c.ready && near(c); })) {
        return;
    }
    if (distribution != kAny && use(all, [&](const Candidate& c) { return c.ready && same_zone(c); })) {
        return;
    }
    if (!use(all, [](const Candidate& c) { return c.ready; })) {
        use(all, draining);
    }
}

/// The weight that a slice gives to its endpoints; a bad annotation counts as 1 (and is refused once per Service).
std::uint32_t weight_of(const k8s::EndpointSlice& slice) {
    const auto weight = weight_annotation(slice.meta.annotations);
    return weight ? weight->value_or(1) : 1;
}

} // namespace

Result<std::optional<std::uint32_t>> weight_annotation(const k8s::Labels& annotations) {
    const auto found = annotations.find(kWeight);
    if (found == annotations.end()) {
        return std::nullopt;
    }
    std::uint32_t weight = 0;
    const auto& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
    if (error != std::errc{} || end != text.data() + text.size() || weight > 1000) {
        return invalid("'{}' is not a weight: write a number from 0 to 1000", text);
    }
    return weight;
}

std::vector<Candidate> candidates_of(const ServiceInput& input, const k8s::ServicePort& port, bool v4, bool external) {
    std::map<std::pair<Ip, std::uint16_t>, Candidate> found; // one address twice (moving between slices) is one backend
    for (const auto& slice : input.slices) {
        if (slice->v4 != v4) {
            continue;
        }
        const std::uint32_t slice_weight = weight_of(*slice);
        for (const auto& slice_port : slice->ports) {
            if (slice_port.name != port.name || slice_port.protocol != port.protocol || slice_port.port == 0) {
                continue;
            }
            for (const auto& endpoint : slice->endpoints) {
                if (endpoint.addresses.empty()) {
                    continue;
                }
                // The API allows several addresses but defines only the first (EndpointSlice reference, `addresses`).
                Candidate candidate;
                candidate.address = make_addr_port(endpoint.addresses.front(), slice_port.port, port.protocol);
                candidate.endpoint = &endpoint;
                candidate.ready = endpoint.ready || input.service.publish_not_ready;
                const auto pod = input.weights.find({slice->meta.namespace_name, endpoint.target_pod});
                candidate.weight = pod != input.weights.end() ? pod->second : slice_weight;
                auto& known = found[{endpoint.addresses.front(), slice_port.port}];
                if (known.endpoint == nullptr || (candidate.ready && !known.ready)) {
                    known = candidate;
                }
            }
        }
    }
    std::vector<Candidate> candidates;
    candidates.reserve(found.size());
    for (auto& [key, candidate] : found) {
        candidates.push_back(candidate);
    }
    choose(candidates, input, !external && input.service.internal_traffic_local);
    return candidates;
}

} // namespace weft::compiler
