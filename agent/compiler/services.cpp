// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/services.hpp"

#include <netinet/in.h>

#include <algorithm>

#include "agent/compiler/candidates.hpp"
#include "agent/compiler/maglev.hpp"
#include "agent/compiler/selection.hpp"
#include "weft/base/content_hash.hpp"

namespace weft::compiler {
namespace {

using k8s::Service;
using k8s::ServicePort;

constexpr const char* kAlgorithm = "weft.dev/load-balancing";

void refuse_bad_weights(const ServiceInput& input, std::vector<store::Refusal>& refusals) {
    for (const auto& slice : input.slices) {
        if (const auto weight = weight_annotation(slice->meta.annotations); !weight) {
            refusals.push_back({k8s::key_of(*slice), slice->meta.origin, "metadata.annotations[weft.dev/weight]",
                                weight.error().message() + "; weight 1 is used", false});
        }
    }
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
    auto candidates = candidates_of(input, port, v4, external);

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

std::vector<std::shared_ptr<const ServiceFragment>> compile_service(const ServiceInput& input,
                                                                    std::vector<store::Refusal>& refusals) {
    std::vector<std::shared_ptr<const ServiceFragment>> fragments;
    const Service& service = input.service;
    if (service.headless || service.type == Service::Type::kExternalName) {
        return fragments;
    }
    const auto algorithm = algorithm_of(service, refusals);
    refuse_bad_weights(input, refusals);
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
