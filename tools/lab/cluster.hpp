// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the user asked for: the objects of the applied manifests, completed as an API server would complete them
// (namespaces, addresses of Services, nodes). No kernel, no processes.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "agent/k8s/objects.hpp"
#include "agent/store/snapshot.hpp"
#include "tools/lab/addressing.hpp"
#include "tools/lab/network.hpp"

namespace weft::lab {

class Cluster {
public:
    enum class Change { kCreated, kConfigured, kUnchanged };

    /// Nodes, before anything else: the manifests' Node objects, or node-1 ... node-`count` when there are none.
    /// Error: EINVAL naming what cannot be a lab's node.
    Result<> make_nodes(const std::vector<k8s::Node>& given, int count);

    /// Takes an object over. Error: EINVAL for a Node that does not exist, or a Pod on a node that does not.
    Result<Change> apply(const k8s::Object& object);
    /// False when there is no such object.
    bool remove(const k8s::ObjectKey& key);
    /// Error: ENOENT.
    Result<> scale(const store::Name& deployment, int replicas);
    Result<> cordon(const std::string& node, bool unschedulable);

    /// Every pod that should exist, bare or of a Deployment; without a node unless its manifest names one.
    [[nodiscard]] std::vector<k8s::Pod> wanted_pods() const;
    /// Gives `pod` the emptiest schedulable node, in view of the pods that exist; it keeps none when no node takes it.
    void place(k8s::Pod& pod, const std::vector<k8s::Pod>& existing) const;
    /// Nodes as values, for derivations.
    [[nodiscard]] std::vector<k8s::Node> node_list() const;

    /// Everything but pods and derived slices, as objects to publish.
    [[nodiscard]] std::vector<k8s::Object> published() const;
    [[nodiscard]] const std::vector<WireNode>& wire_nodes() const { return wire_; }
    [[nodiscard]] const store::Table<k8s::Node>& nodes() const { return nodes_; }
    [[nodiscard]] const store::Table<k8s::Service>& services() const { return services_; }
    [[nodiscard]] const WireNode* wire_node(const std::string& name) const;

private:
    template <typename T>
    Change put(store::Table<T>& table, const T& object, const k8s::Object& as_given);
    void ensure_namespace(const std::string& name);

    store::Table<k8s::Namespace> namespaces_;
    store::Table<k8s::Node> nodes_;
    store::Table<k8s::ServiceAccount> accounts_;
    store::Table<k8s::Service> services_;
    store::Table<k8s::EndpointSlice> slices_;
    store::Table<k8s::NetworkPolicy> policies_;
    store::Table<k8s::MeshTls> mesh_tls_;
    store::Table<k8s::MeshConfig> mesh_configs_;
    store::Table<k8s::Deployment> deployments_;
    store::Table<k8s::Pod> pods_;
    std::map<k8s::ObjectKey, k8s::Object> as_given_; ///< each object as applied, before completion: tells "unchanged"
    std::vector<WireNode> wire_;
    ServiceAddresses addresses_;
};

} // namespace weft::lab
