// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/services.hpp"

#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "agent/compiler/maglev.hpp"
#include "agent/compiler/selection.hpp"
#include "weft/base/content_hash.hpp"

namespace weft::compiler {
namespace {

using k8s::Service;
using k8s::ServicePort;

constexpr const char* kAlgorithm = "weft.dev/load-balancing";
constexpr const char* kWeight = "weft.dev/weight";

struct Candidate {
    weft_addr_port address{};
    const k8s::SliceEndpoint* endpoint = nullptr;
    std::uint32_t weight = 1;
    bool ready = true;
    bool used = false;
};

bool wants_hints(const Service& service) {
    for (const char* key : {"service.kubernetes.io/topology-mode", "service.kubernetes.io/topology-aware-hints"}) {
        if (const auto found = service.meta.annotations.find(key); found != service.meta.annotations.end()) {
            return found->second == "Auto" || found->second == "auto";
        }
    }
    return false;
}

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

/// kube-proxy's choice: ready ones, near ones first where the Service asks for it, and draining ones as the last
/// resort.
void choose(std::vector<Candidate>& all, const ServiceInput& input, bool local_only) {
    const auto near = [&](const Candidate& c) { return c.endpoint->node_name == input.node_name; };
    const auto draining = [](const Candidate& c) { return c.endpoint->serving && c.endpoint->terminating; };
    if (local_only) {
        if (!use(all, [&](const Candidate& c) { return c.ready && near(c); })) {
            use(all, [&](const Candidate& c) { return draining(c) && near(c); });
        }
        return;
    }
    const auto same_zone = [&](const Candidate& c) { return !input.zone.empty() && c.endpoint->zone == input.zone; };
    const auto hinted = [&](const Candidate& c) { return std::ranges::count(c.endpoint->hint_zones, input.zone) > 0; };
    const bool all_hinted =
        std::ranges::all_of(all, [](const Candidate& c) { return !c.ready || !c.endpoint->hint_zones.empty(); });
    using enum Service::Distribution;
    const auto distribution = input.service.distribution;
    if (distribution == kPreferSameNode && use(all, [&](const Candidate& c) { return c.ready && near(c); })) {
        return;
    }
    if (distribution != kAny && use(all, [&](const Candidate& c) { return c.ready && same_zone(c); })) {
        return;
    }
    if (wants_hints(input.service) && all_hinted &&
        use(all, [&](const Candidate& c) { return c.ready && hinted(c); })) {
        return;
    }
    if (!use(all, [](const Candidate& c) { return c.ready; })) {
        use(all, draining);
    }
}

std::vector<Candidate> candidates_of(const ServiceInput& input, const ServicePort& port, bool v4,
                                     std::vector<store::Refusal>& refusals) {
    std::map<std::pair<Ip, std::uint16_t>, Candidate> found; // one address twice (moving between slices) is one backend
    for (const auto& slice : input.slices) {
        if (slice->v4 != v4) {
            continue;
        }
        std::uint32_t slice_weight = 1;
        if (const auto weight = weight_annotation(slice->meta.annotations); !weight) {
            refusals.push_back({k8s::key_of(*slice), slice->meta.origin,
                                std::string("metadata.annotations[") + kWeight + "]",
                                weight.error().message() + "; weight 1 is used", false});
        } else {
            slice_weight = weight->value_or(1);
        }
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
    return candidates;
}

std::vector<Ip> of_family(const std::vector<Ip>& ips, bool v4) {
    std::vector<Ip> chosen;
    std::ranges::copy_if(ips, std::back_inserter(chosen), [&](const Ip& ip) { return ip.is_v4() == v4; });
    return chosen;
}

/// Addresses of one scope and family. The wildcard of a node port is the unspecified address of its family.
std::vector<weft_addr_port> frontends_of(const Service& service, const ServicePort& port, bool external, bool v4) {
    std::vector<weft_addr_port> frontends;
    const auto add = [&](const std::vector<Ip>& ips) {
        for (const auto& ip : of_family(ips, v4)) {
            frontends.push_back(make_addr_port(ip, port.port, port.protocol));
        }
    };
    if (!external) {
        add(service.cluster_ips);
        return frontends;
    }
    add(service.external_ips);
    add(service.load_balancer_ips);
    if (port.node_port != 0 && !of_family(service.cluster_ips, v4).empty()) {
        frontends.push_back(make_addr_port(v4 ? Ip::v4(0) : Ip(), port.node_port, port.protocol));
    }
    return frontends;
}

std::uint16_t algorithm_of(const Service& service, std::vector<store::Refusal>& refusals) {
    const auto annotation = service.meta.annotations.find(kAlgorithm);
    if (annotation == service.meta.annotations.end()) {
        return WEFT_ALGORITHM_RANDOM;
    }
    if (const auto number = algorithm_number(annotation->second)) {
        return *number;
    }
    refusals.push_back({k8s::key_of(service), service.meta.origin,
                        std::string("metadata.annotations[") + kAlgorithm + "]",
                        fmt::format("'{}' is not one of random, round-robin, maglev, least-connections; random is used",
                                    annotation->second),
                        false});
    return WEFT_ALGORITHM_RANDOM;
}

std::uint64_t set_id_of(const std::vector<weft_slot>& slots, std::uint16_t algorithm) {
    ContentHash hash("set");
    hash.add(std::uint64_t{algorithm});
    hash.add(std::string_view(reinterpret_cast<const char*>(slots.data()), slots.size() * sizeof(weft_slot)));
    return hash.id();
}

std::shared_ptr<const ServiceFragment> fragment_of(const ServiceInput& input, const ServicePort& port, bool external,
                                                   bool v4, std::uint16_t algorithm,
                                                   const std::vector<weft_addr_port>& frontends,
                                                   std::vector<store::Refusal>& refusals) {
    const Service& service = input.service;
    auto fragment = std::make_shared<ServiceFragment>();
    fragment->namespace_name = service.meta.namespace_name;
    fragment->name = service.meta.name;
    fragment->port_name = port.name;
    fragment->protocol = port.protocol;
    fragment->scope = external ? "external" : "cluster";
    fragment->algorithm = algorithm_name(algorithm);
    fragment->service_id = ContentHash("service")
                               .add(service.meta.namespace_name)
                               .add(service.meta.name)
                               .add(port.name)
                               .add(std::uint64_t{port.port})
                               .add(std::uint64_t{port.protocol})
                               .add(fragment->scope)
                               .add(std::uint64_t{v4})
                               .id();
    auto candidates = candidates_of(input, port, v4, refusals);
    choose(candidates, input, !external && service.internal_traffic_local);

    std::vector<Weighted> backends;
    for (auto& candidate : candidates) {
        candidate.used = candidate.used && candidate.weight > 0;
        if (candidate.used && backends.size() == WEFT_MAX_SLOTS) {
            candidate.used = false;
            refusals.push_back(
                {k8s::key_of(service), service.meta.origin, "endpoints",
                 fmt::format("more than {} usable endpoints; the highest addresses are left out", WEFT_MAX_SLOTS),
                 false});
            break;
        }
        if (candidate.used) {
            backends.push_back({candidate.address, candidate.weight});
        }
    }
    fragment->slots = make_slots(backends, algorithm);
    if (algorithm == WEFT_ALGORITHM_MAGLEV && !fragment->slots.empty()) {
        fragment->maglev = maglev_table(fragment->slots);
    }
    fragment->set_id = set_id_of(fragment->slots, algorithm);
    if (service.client_ip_affinity || port.protocol == IPPROTO_UDP) {
        for (const auto& backend : backends) {
            fragment->members.push_back(backend.backend);
        }
    }
    for (const auto& frontend : frontends) {
        weft_service value{};
        value.service = fragment->service_id;
        value.set = fragment->set_id;
        value.slot_count = static_cast<std::uint32_t>(fragment->slots.size());
        value.algorithm = algorithm;
        if (service.client_ip_affinity) {
            value.affinity_seconds = static_cast<std::uint32_t>(service.affinity_timeout_seconds);
            value.flags |= WEFT_SERVICE_AFFINITY;
        }
        if (Ip(frontend.addr).is_unspecified()) {
            value.flags |= WEFT_SERVICE_NODE_PORT;
        }
        fragment->frontends.emplace_back(frontend, value);
    }
    fragment->backends.reserve(candidates.size());
    for (const auto& candidate : candidates) {
        const auto& endpoint = *candidate.endpoint;
        fragment->backends.push_back({candidate.address, endpoint.target_pod, endpoint.node_name, endpoint.zone,
                                      candidate.ready, endpoint.serving, endpoint.terminating, candidate.used,
                                      candidate.weight});
    }
    return fragment;
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

std::vector<std::shared_ptr<const ServiceFragment>> compile_service(const ServiceInput& input,
                                                                    std::vector<store::Refusal>& refusals) {
    std::vector<std::shared_ptr<const ServiceFragment>> fragments;
    const Service& service = input.service;
    if (service.headless || service.type == Service::Type::kExternalName) {
        return fragments;
    }
    const auto algorithm = algorithm_of(service, refusals);
    for (std::size_t index = 0; index < service.ports.size(); ++index) {
        const auto& port = service.ports[index];
        if (port.protocol != IPPROTO_TCP && port.protocol != IPPROTO_UDP) {
            refusals.push_back(
                {k8s::key_of(service), service.meta.origin, fmt::format("spec.ports[{}].protocol", index),
                 "the kernel has no hook that could balance SCTP: policy applies to it, but dial pods directly",
                 false});
            continue;
        }
        for (const bool external : {false, true}) {
            for (const bool v4 : {true, false}) {
                const auto frontends = frontends_of(service, port, external, v4);
                if (!frontends.empty()) {
                    fragments.push_back(fragment_of(input, port, external, v4, algorithm, frontends, refusals));
                }
            }
        }
    }
    return fragments;
}

} // namespace weft::compiler
