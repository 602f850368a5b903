// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Tables of objects and the completion that an API server and a scheduler would do.
#include "tools/lab/cluster.hpp"

#include <algorithm>

#include "agent/k8s/derive.hpp"

namespace weft::lab {
namespace {

store::Name name_of(const k8s::Meta& meta) {
    return {meta.namespace_name, meta.name};
}

/// Names that the lab's own namespaces and cgroups have where nodes have theirs.
bool is_reserved(const std::string& node) {
    return node == "wire" || node == "lab" || node == "external" || node.starts_with("pod-") ||
           node.starts_with("ext-");
}

} // namespace

Result<> Cluster::make_nodes(const std::vector<k8s::Node>& given, int count) {
    std::vector<k8s::Node> nodes = given;
    for (int i = 1; given.empty() && i <= count; ++i) {
        k8s::Node node;
        node.meta.name = fmt::format("node-{}", i);
        node.meta.labels["topology.kubernetes.io/zone"] = fmt::format("zone-{}", i);
        nodes.push_back(node);
    }
    if (nodes.empty() || nodes.size() > static_cast<std::size_t>(kMostNodes)) {
        return invalid("a lab has 1 to {} nodes, not {}", kMostNodes, nodes.size());
    }
    int number = 0;
    for (auto& node : nodes) {
        ++number;
        if (is_reserved(node.meta.name)) {
            return invalid("{}: Node '{}': the lab uses this name itself: choose another", node.meta.origin.file,
                           node.meta.name);
        }
        WireNode wire{
            .name = node.meta.name, .number = number, .addresses = node_addresses(number), .pod_cidrs = node.pod_cidrs};
        if (wire.pod_cidrs.empty()) {
            wire.pod_cidrs = default_pod_cidrs(number);
        }
        for (const auto& cidr : wire.pod_cidrs) {
            if (128 - cidr.bits() < 2) {
                return invalid("{}: Node '{}': spec.podCIDRs {} is too small: give it a /30 (IPv6: /126) or larger",
                               node.meta.origin.file, node.meta.name, cidr.to_string());
            }
        }
        wire.own_addresses = node.addresses;
        wire_.push_back(wire);
        node.pod_cidrs = wire.pod_cidrs;
        if (node.addresses.empty()) {
            node.addresses = wire.addresses;
        }
        node.meta.labels.emplace("kubernetes.io/hostname", node.meta.name);
        if (!given.empty()) {
            as_given_.insert_or_assign(k8s::key_of(node), given[static_cast<std::size_t>(number) - 1]);
        }
        nodes_.insert_or_assign(name_of(node.meta), std::make_shared<k8s::Node>(node));
    }
    ensure_namespace("default");
    return {};
}

const WireNode* Cluster::wire_node(const std::string& name) const {
    const auto found = std::ranges::find(wire_, name, &WireNode::name);
    return found != wire_.end() ? &*found : nullptr;
}

void Cluster::ensure_namespace(const std::string& name) {
    if (!name.empty() && !namespaces_.contains({"", name})) {
        k8s::Namespace made;
        made.meta.name = name;
        made.meta.labels["kubernetes.io/metadata.name"] = name;
        namespaces_.insert_or_assign({"", name}, std::make_shared<k8s::Namespace>(made));
    }
}

template <typename T>
Cluster::Change Cluster::put(store::Table<T>& table, const T& object, const k8s::Object& as_given) {
    const auto key = k8s::key_of(as_given);
    const auto before = as_given_.find(key);
    if (before != as_given_.end() && before->second == as_given) {
        return Change::kUnchanged;
    }
    const auto change = before != as_given_.end() ? Change::kConfigured : Change::kCreated;
    as_given_.insert_or_assign(key, as_given);
    table.insert_or_assign(name_of(object.meta), std::make_shared<T>(object));
    return change;
}

Result<Cluster::Change> Cluster::apply(const k8s::Object& object) {
    ensure_namespace(k8s::meta_of(object).namespace_name);
    if (const auto* space = std::get_if<k8s::Namespace>(&object)) {
        return put(namespaces_, *space, object);
    }
    if (const auto* node = std::get_if<k8s::Node>(&object)) {
        const auto* wire = wire_node(node->meta.name);
        if (wire == nullptr) {
            return invalid(
                "{}: Node '{}' is not part of this lab: nodes are made by `weft lab up`, so take the lab down first",
                node->meta.origin.file, node->meta.name);
        }
        auto complete = *node;
        complete.pod_cidrs = wire->pod_cidrs; // fixed once the lab is up
        complete.addresses = wire->own_addresses.empty() ? wire->addresses : wire->own_addresses;
        complete.meta.labels.emplace("kubernetes.io/hostname", node->meta.name);
        return put(nodes_, complete, object);
    }
    if (const auto* account = std::get_if<k8s::ServiceAccount>(&object)) {
        return put(accounts_, *account, object);
    }
    if (const auto* slice = std::get_if<k8s::EndpointSlice>(&object)) {
        return put(slices_, *slice, object);
    }
    if (const auto* policy = std::get_if<k8s::NetworkPolicy>(&object)) {
        return put(policies_, *policy, object);
    }
    if (const auto* tls = std::get_if<k8s::MeshTls>(&object)) {
        return put(mesh_tls_, *tls, object);
    }
    if (const auto* config = std::get_if<k8s::MeshConfig>(&object)) {
        return put(mesh_configs_, *config, object);
    }
    if (const auto* deployment = std::get_if<k8s::Deployment>(&object)) {
        return put(deployments_, *deployment, object);
    }
    if (const auto* pod = std::get_if<k8s::Pod>(&object)) {
        if (!pod->spec.node_name.empty() && wire_node(pod->spec.node_name) == nullptr) {
            return invalid("{}: Pod {}/{}: spec.nodeName '{}' is no node of this lab (`weft lab status` lists them)",
                           pod->meta.origin.file, pod->meta.namespace_name, pod->meta.name, pod->spec.node_name);
        }
        return put(pods_, *pod, object);
    }
    auto service = std::get<k8s::Service>(object);
    if (const auto before = services_.find(name_of(service.meta)); before != services_.end()) {
        // Assigned addresses stay with a Service through every change, as the API server keeps them.
        addresses_.release(*before->second);
        if (service.cluster_ips.empty() && !service.headless) {
            service.cluster_ips = before->second->cluster_ips;
        }
        if (service.load_balancer_ips.empty() && service.type == before->second->type) {
            service.load_balancer_ips = before->second->load_balancer_ips;
        }
        for (auto& port : service.ports) {
            for (const auto& old : before->second->ports) {
                if (service.type == before->second->type && port.node_port == 0 && old.port == port.port &&
                    old.protocol == port.protocol) {
                    port.node_port = old.node_port;
                }
            }
        }
    }
    addresses_.reserve(service);
    addresses_.assign(service);
    return put(services_, service, object);
}

bool Cluster::remove(const k8s::ObjectKey& key) {
    const store::Name name{key.namespace_name, key.name};
    as_given_.erase(key);
    if (key.kind == "Service" && services_.contains(name)) {
        addresses_.release(*services_.at(name));
    }
    return (key.kind == "Namespace" && namespaces_.erase(name) != 0) ||
           (key.kind == "ServiceAccount" && accounts_.erase(name) != 0) ||
           (key.kind == "Service" && services_.erase(name) != 0) ||
           (key.kind == "EndpointSlice" && slices_.erase(name) != 0) ||
           (key.kind == "NetworkPolicy" && policies_.erase(name) != 0) ||
           (key.kind == "MeshTLS" && mesh_tls_.erase(name) != 0) ||
           (key.kind == "MeshConfig" && mesh_configs_.erase(name) != 0) ||
           (key.kind == "Deployment" && deployments_.erase(name) != 0) || (key.kind == "Pod" && pods_.erase(name) != 0);
}

Result<> Cluster::scale(const store::Name& name, int replicas) {
    const auto found = deployments_.find(name);
    if (found == deployments_.end()) {
        return failure(ENOENT, "there is no Deployment {}/{}", name.first, name.second);
    }
    auto changed = *found->second;
    changed.replicas = replicas;
    deployments_.insert_or_assign(name, std::make_shared<k8s::Deployment>(changed));
    as_given_.insert_or_assign(k8s::key_of(changed), changed);
    return {};
}

Result<> Cluster::cordon(const std::string& node, bool unschedulable) {
    const auto found = nodes_.find({"", node});
    if (found == nodes_.end()) {
        return failure(ENOENT, "there is no node '{}' (`weft lab status` lists them)", node);
    }
    auto changed = *found->second;
    changed.unschedulable = unschedulable;
    nodes_.insert_or_assign({"", node}, std::make_shared<k8s::Node>(changed));
    return {};
}

std::vector<k8s::Pod> Cluster::wanted_pods() const {
    std::vector<k8s::Pod> wanted;
    for (const auto& [name, pod] : pods_) {
        wanted.push_back(*pod);
    }
    for (const auto& [name, deployment] : deployments_) {
        for (auto& pod : k8s::expand_deployment(*deployment)) {
            wanted.push_back(std::move(pod));
        }
    }
    return wanted;
}

std::vector<k8s::Node> Cluster::node_list() const {
    std::vector<k8s::Node> list;
    for (const auto& [name, node] : nodes_) {
        list.push_back(*node);
    }
    return list;
}

void Cluster::place(k8s::Pod& pod, const std::vector<k8s::Pod>& existing) const {
    auto pods = existing;
    pods.push_back(pod);
    k8s::schedule(pods, node_list());
    pod.spec.node_name = pods.back().spec.node_name;
}

std::vector<k8s::Object> Cluster::published() const {
    std::vector<k8s::Object> all;
    const auto take = [&all](const auto& table) {
        for (const auto& [name, object] : table) {
            all.emplace_back(*object);
        }
    };
    take(namespaces_);
    take(nodes_);
    take(accounts_);
    take(services_);
    take(slices_);
    take(policies_);
    take(mesh_tls_);
    take(mesh_configs_);
    return all;
}

} // namespace weft::lab
