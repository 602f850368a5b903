// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/foreign_view.hpp"

namespace weft::app {
namespace {

/// The node whose Pod addresses overlap the block; null when there is none.
const k8s::Node* node_inside(const store::Snapshot& snapshot, const Cidr& block) {
    for (const auto& [name, node] : *snapshot.nodes) {
        for (const auto& pods : node->pod_cidrs) {
            if (pods.contains(block) || block.contains(pods)) {
                return node.get();
            }
        }
    }
    return nullptr;
}

} // namespace

std::vector<std::string> add_foreign(mesh::View& view, const store::Snapshot& snapshot,
                                     const std::map<std::string, std::vector<Cidr>>& blocks) {
    std::vector<std::string> conflicts;
    if (blocks.empty()) {
        return conflicts;
    }
    for (const auto& [domain, list] : blocks) {
        for (const auto& block : list) {
            if (const auto* node = node_inside(snapshot, block); node != nullptr) {
                conflicts.push_back(fmt::format("federation_addresses: {} of {} overlaps the Pod addresses of node {}; "
                                                "connections of that block are refused",
                                                block.to_string(), domain, node->meta.name));
                continue;
            }
            view.foreign.push_back({block, domain});
        }
    }
    for (const auto& [name, pod] : *snapshot.pods) {
        if (!pod->finished()) {
            view.own_addresses.insert(pod->ips.begin(), pod->ips.end());
        }
    }
    for (const auto& [container, endpoint] : *snapshot.endpoints) {
        view.own_addresses.insert(endpoint.ips.begin(), endpoint.ips.end());
    }
    for (const auto& [name, node] : *snapshot.nodes) {
        view.own_addresses.insert(node->addresses.begin(), node->addresses.end());
    }
    return conflicts;
}

std::vector<Cidr> all_blocks(const std::map<std::string, std::vector<Cidr>>& blocks) {
    std::vector<Cidr> all;
    for (const auto& [domain, list] : blocks) {
        all.insert(all.end(), list.begin(), list.end());
    }
    return all;
}

} // namespace weft::app
