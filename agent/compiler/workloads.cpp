// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/workloads.hpp"

#include "agent/compiler/acceleration.hpp"
#include "agent/compiler/identities.hpp"
#include "agent/compiler/mesh.hpp"
#include "agent/compiler/policies.hpp"
#include "weft/base/content_hash.hpp"

namespace weft::compiler {
namespace {

constexpr const char* kAnySource = "weft.dev/allow-any-source";
constexpr const char* kBypass = "weft.dev/mesh-bypass";

/// "true" or "false" of an annotation; anything else is refused and counts as false, the safe side.
bool switched_on(const k8s::Pod& pod, const char* key, std::vector<store::Refusal>& refusals) {
    const auto found = pod.meta.annotations.find(key);
    if (found == pod.meta.annotations.end() || found->second == "false") {
        return false;
    }
    if (found->second == "true") {
        return true;
    }
    refusals.push_back({k8s::key_of(pod), pod.meta.origin, std::string("metadata.annotations[") + key + "]",
                        fmt::format("'{}' is neither \"true\" nor \"false\"; false is used", found->second), false});
    return false;
}

void add_names(const store::Snapshot& snapshot, const Identities& identities, Names& names) {
    const auto enrolled = enrolled_addresses(snapshot);
    for (const auto& [id, facts] : identities.by_id) {
        Names::Identity name;
        name.namespace_name = facts.namespace_name;
        if (facts.labels != nullptr) {
            name.labels = *facts.labels;
        }
        for (const auto& block : facts.blocks) {
            name.cidrs.push_back(block.to_string());
        }
        name.addresses = facts.addresses;
        names.identities.emplace(id, std::move(name));
    }
    for (const auto& [key, pod] : *snapshot.pods) {
        auto workload = std::make_shared<Names::Workload>();
        workload->namespace_name = pod->meta.namespace_name;
        workload->pod_name = pod->meta.name;
        workload->labels = pod->meta.labels;
        workload->service_account = pod->spec.service_account;
        workload->node = pod->spec.node_name;
        workload->host_network = pod->spec.host_network;
        workload->ips = addresses_of(*pod, enrolled);
        if (!workload->ips.empty()) {
            if (const auto peer = identities.ipcache.find(workload->ips.front().raw());
                peer != identities.ipcache.end()) {
                workload->identity = peer->second.identity;
            }
        }
        const std::shared_ptr<const Names::Workload> shared = workload;
        names.workloads[workload_id(workload->namespace_name, workload->pod_name)] = shared;
        if (!pod->finished() && !pod->spec.host_network) {
            for (const auto& ip : shared->ips) {
                names.workload_by_ip[ip] = shared;
            }
        }
    }
}

weft_endpoint endpoint_of(const store::LocalEndpoint& local, const Identities& identities) {
    weft_endpoint endpoint{};
    endpoint.workload = workload_id(local.namespace_name, local.pod_name);
    for (const auto& ip : local.ips) {
        (ip.is_v4() ? endpoint.addr4 : endpoint.addr6) = ip.raw();
        if (const auto peer = identities.ipcache.find(ip.raw());
            peer != identities.ipcache.end() && endpoint.identity == 0) {
            endpoint.identity = peer->second.identity;
        }
    }
    return endpoint;
}

} // namespace

PolicyState compile_policy(const store::Snapshot& snapshot, const NodeContext& node) {
    PolicyState state;
    auto image = std::make_shared<PolicyImage>();
    auto names = std::make_shared<Names>();
    auto identities = compile_identities(snapshot, node, state.refusals);
    PolicyCompiler policies(snapshot, identities, *image, *names);

    for (const auto& [container, local] : *snapshot.endpoints) {
        auto endpoint = endpoint_of(local, identities);
        const auto pod = snapshot.pods->find({local.namespace_name, local.pod_name});
        if (pod == snapshot.pods->end()) {
            // Its labels are unknown, so no policy can be known either: closed, until the Pod object is there.
            endpoint.flags = WEFT_ENDPOINT_ISOLATED_INGRESS | WEFT_ENDPOINT_ISOLATED_EGRESS;
            state.refusals.push_back({{"Pod", local.namespace_name, local.pod_name},
                                      {},
                                      "",
                                      "runs on this node, but no source has its Pod object: isolated until one has",
                                      false});
        } else {
            const auto policy = policies.classify(*pod->second);
            endpoint.policy = policy.id;
            endpoint.flags = policy.flags;
            endpoint.flags |= switched_on(*pod->second, kAnySource, state.refusals) ? WEFT_ENDPOINT_ANY_SOURCE : 0U;
            endpoint.flags |= switched_on(*pod->second, kBypass, state.refusals) ? WEFT_ENDPOINT_EXTERNAL : 0U;
            endpoint.flags |= accelerated(snapshot, *pod->second, node, state.refusals) ? WEFT_ENDPOINT_ACCEL : 0U;
            if (node.mesh) {
                const auto standing = mesh_standing(snapshot, *pod->second, node.in_transit, &state.refusals);
                endpoint.flags |= endpoint_flags(standing);
                for (const auto& ip : local.ips) {
                    add_tls_ports(standing, ip, image->tls_ports);
                }
            }
            if (const auto port = node.dial_ports.find(local.netns_cookie); port != node.dial_ports.end()) {
                endpoint.dial_port = port->second;
            }
        }
        image->endpoints[local.netns_cookie] = endpoint;
        for (const auto& ip : local.ips) {
            image->local_addresses[ip.raw()] = local.netns_cookie;
        }
    }
    if (node.host_netns_cookie != 0) {
        weft_endpoint host{};
        host.workload = workload_id("", node.node_name);
        host.identity = WEFT_IDENTITY_HOST;
        host.flags = WEFT_ENDPOINT_HOST;
        image->endpoints[node.host_netns_cookie] = host;
        for (const auto& ip : node.host_addresses) {
            image->local_addresses[ip.raw()] = node.host_netns_cookie;
        }
    }
    for (const auto& [name, other] : *snapshot.nodes) {
        for (const auto& ip : other->addresses) {
            image->node_addresses[ip.raw()] = other->meta.name == node.node_name ? 1 : 0;
        }
    }
    for (const auto& ip : node.host_addresses) {
        image->node_addresses[ip.raw()] = 1;
    }
    add_names(snapshot, identities, *names);
    auto self = std::make_shared<Names::Workload>();
    self->pod_name = node.node_name;
    self->node = node.node_name;
    self->ips = node.host_addresses;
    self->identity = WEFT_IDENTITY_HOST;
    self->host_network = true;
    names->workloads[workload_id("", node.node_name)] = std::move(self);
    image->ipcache = std::move(identities.ipcache);
    image->cidrs = std::move(identities.cidrs);
    image->tls_ports.merge(identities.tls_ports);
    state.image = std::move(image);
    state.names = std::move(names);
    return state;
}

} // namespace weft::compiler
