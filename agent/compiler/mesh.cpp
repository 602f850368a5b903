// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/mesh.hpp"

#include <netinet/in.h>

#include "weft/abi/mesh.h"

namespace weft::compiler {
namespace {

/// True when the label says so; nullopt without a (valid) label.
std::optional<bool> enabled(const k8s::Labels& labels, const k8s::ObjectKey& key, const k8s::Origin& origin,
                            std::vector<store::Refusal>* refusals) {
    const auto found = labels.find(kMeshLabel);
    if (found == labels.end()) {
        return std::nullopt;
    }
    if (found->second == "enabled" || found->second == "disabled") {
        return found->second == "enabled";
    }
    if (refusals != nullptr) {
        refusals->push_back(
            {key, origin, std::string("metadata.labels[") + kMeshLabel + "]",
             fmt::format("'{}' is neither \"enabled\" nor \"disabled\"; it counts as not set", found->second), false});
    }
    return std::nullopt;
}

/// The MeshTLS that counts for a pod: one that selects it before one for all.
const k8s::MeshTls* tls_of(const store::Snapshot& snapshot, const k8s::Pod& pod) {
    const k8s::MeshTls* general = nullptr;
    for (const auto& [name, tls] : *snapshot.mesh_tls) {
        if (name.first != pod.meta.namespace_name) {
            continue;
        }
        if (tls->selector && tls->selector->matches(pod.meta.labels)) {
            return tls.get();
        }
        if (!tls->selector && general == nullptr) {
            general = tls.get();
        }
    }
    return general;
}

k8s::TlsMode standard_mode(const store::Snapshot& snapshot) {
    const auto config = snapshot.mesh_configs->find({"", "default"});
    return config == snapshot.mesh_configs->end() ? k8s::TlsMode::kPermissive
                                                  : config->second->mode.value_or(k8s::TlsMode::kPermissive);
}

std::uint32_t abi_mode(k8s::TlsMode mode) {
    switch (mode) {
    case k8s::TlsMode::kOff:
        return WEFT_TLS_OFF;
    case k8s::TlsMode::kPermissive:
        return WEFT_TLS_PERMISSIVE;
    case k8s::TlsMode::kStrict:
        break;
    }
    return WEFT_TLS_STRICT;
}

} // namespace

MeshStanding mesh_standing(const store::Snapshot& snapshot, const k8s::Pod& pod, const InTransit& in_transit,
                           std::vector<store::Refusal>* refusals) {
    if (pod.spec.host_network || pod.finished()) {
        return {};
    }
    auto wanted = enabled(pod.meta.labels, k8s::key_of(pod), pod.meta.origin, refusals);
    if (!wanted) {
        const auto home = snapshot.namespaces->find({"", pod.meta.namespace_name});
        if (home != snapshot.namespaces->end()) {
            wanted = enabled(home->second->meta.labels, {"Namespace", "", pod.meta.namespace_name},
                             home->second->meta.origin, nullptr);
        }
    }
    MeshStanding standing;
    if (wanted.value_or(false)) {
        standing.mode = standard_mode(snapshot);
        if (const auto* tls = tls_of(snapshot, pod); tls != nullptr) {
            standing.mode = tls->mode.value_or(standing.mode);
            standing.ports = tls->ports;
        }
    }
    const auto enrolled = pod.meta.annotations.find(kEnrolledAnnotation);
    standing.published = enrolled != pod.meta.annotations.end() && enrolled->second == "true";
    const store::Name name{pod.meta.namespace_name, pod.meta.name};
    standing.entering = in_transit.entering.contains(name);
    standing.leaving = !standing.published && in_transit.leaving.contains(name);
    return standing;
}

std::uint32_t endpoint_flags(const MeshStanding& standing) {
    if (standing.mode == k8s::TlsMode::kOff) {
        return standing.published || standing.leaving ? WEFT_ENDPOINT_MESH : 0U; // peers may still dial it
    }
    return WEFT_ENDPOINT_MESH | (standing.published && !standing.entering ? WEFT_ENDPOINT_DIALS : 0U) |
           (standing.mode == k8s::TlsMode::kStrict ? WEFT_ENDPOINT_STRICT : 0U);
}

std::uint32_t peer_flags(const MeshStanding& standing) {
    // What is published holds until it is withdrawn, also when the label is gone already: that is how un-enrolling
    // drains.
    return (standing.published ? WEFT_PEER_MESH | WEFT_PEER_DIALS : 0U) |
           (standing.mode != k8s::TlsMode::kOff || standing.leaving ? WEFT_PEER_DIALS : 0U);
}

void add_tls_ports(const MeshStanding& standing, const Ip& ip, Image<weft_addr_port, std::uint32_t>& out) {
    for (const auto& [port, mode] : standing.ports) {
        out[make_addr_port(ip, port, IPPROTO_TCP)] = abi_mode(mode);
    }
}

} // namespace weft::compiler
