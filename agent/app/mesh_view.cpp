// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/mesh_view.hpp"

#include <nlohmann/json.hpp>

#include "agent/compiler/identities.hpp"
#include "agent/compiler/mesh.hpp"

namespace weft::app {

mesh::View mesh_view(const store::Snapshot& snapshot, const std::string& node_name, const std::string& trust_domain,
                     const compiler::InTransit& in_transit) {
    mesh::View view;
    for (const auto& [container, endpoint] : *snapshot.endpoints) {
        const auto pod = snapshot.pods->find({endpoint.namespace_name, endpoint.pod_name});
        if (pod == snapshot.pods->end()) {
            continue;
        }
        const auto standing = compiler::mesh_standing(snapshot, *pod->second, in_transit, nullptr);
        // What is published is served until peers know that it is withdrawn, whatever the label says by now.
        if (standing.mode == k8s::TlsMode::kOff && !standing.published && !standing.leaving) {
            continue;
        }
        const auto id =
            SpiffeId::make(trust_domain, pod->second->meta.namespace_name, pod->second->spec.service_account);
        if (!id) {
            continue;
        }
        mesh::Workload workload;
        workload.netns_cookie = endpoint.netns_cookie;
        workload.netns_path = endpoint.netns_path;
        workload.namespace_name = endpoint.namespace_name;
        workload.pod_name = endpoint.pod_name;
        workload.id = *id;
        workload.mode = standing.mode == k8s::TlsMode::kOff ? k8s::TlsMode::kPermissive : standing.mode;
        workload.ports = standing.ports;
        for (const auto& ip : endpoint.ips) {
            (ip.is_v4() ? workload.addr4 : workload.addr6) = ip;
        }
        view.workloads[endpoint.netns_cookie] = std::make_shared<const mesh::Workload>(std::move(workload));
    }
    for (const auto& [name, pod] : *snapshot.pods) {
        if (pod->spec.node_name == node_name || pod->finished() || pod->spec.host_network) {
            continue;
        }
        if (const auto id = SpiffeId::make(trust_domain, pod->meta.namespace_name, pod->spec.service_account); id) {
            for (const auto& ip : pod->ips) {
                if (!pod->meta.deleting || !view.peers.contains(ip)) { // a newer pod may have the address already
                    view.peers[ip] = *id;
                }
            }
        }
    }
    return view;
}

std::set<SpiffeId> identities_of(const mesh::View& view) {
    std::set<SpiffeId> ids;
    for (const auto& [cookie, workload] : view.workloads) {
        ids.insert(workload->id);
    }
    return ids;
}

std::string enrolled_text(const store::Snapshot& snapshot, const std::set<std::uint64_t>& netns_cookies) {
    nlohmann::json pods = nlohmann::json::array();
    for (const auto& [container, endpoint] : *snapshot.endpoints) {
        if (netns_cookies.contains(endpoint.netns_cookie)) {
            pods.push_back(
                {{"namespace", endpoint.namespace_name}, {"name", endpoint.pod_name}, {"uid", endpoint.pod_uid}});
        }
    }
    return nlohmann::json{{"pods", std::move(pods)}}.dump() + "\n";
}

} // namespace weft::app
