// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One consistent, immutable view of everything that the sources said. Objects that did not change keep their
// address from one snapshot to the next, so that the compiler can tell what is new by comparing pointers.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/k8s/objects.hpp"
#include "weft/base/sorted_map.hpp"

namespace weft::store {

/// namespace, name (namespace is empty for cluster-scoped kinds)
using Name = std::pair<std::string, std::string>;

template <typename T>
using Table = SortedMap<Name, std::shared_ptr<const T>>;

/// A pod that runs on this node, as the CNI plugin (or the /proc scan) reported it.
struct LocalEndpoint {
    std::string namespace_name;
    std::string pod_name;
    std::string pod_uid;
    std::string container_id;
    std::string netns_path;
    std::uint64_t netns_cookie = 0;
    std::vector<Ip> ips;

    friend bool operator==(const LocalEndpoint&, const LocalEndpoint&) = default;
};

/// A refused object: what is wrong and what stays in force instead.
struct Refusal {
    k8s::ObjectKey key;      ///< kind and name as far as they could be read
    k8s::Origin origin;      ///< file and line of the fault
    std::string field;       ///< "spec.ports[0].port"; empty when the document did not parse
    std::string message;     ///< what is wrong and the remedy
    bool last_good_in_force = false; ///< an older version of this object stays in force

    friend bool operator==(const Refusal&, const Refusal&) = default;
};

/// Tables are shared between snapshots when nothing in them changed.
struct Snapshot {
    std::uint64_t version = 0; ///< grows by one with every published snapshot
    std::shared_ptr<const Table<k8s::Namespace>> namespaces = std::make_shared<Table<k8s::Namespace>>();
    std::shared_ptr<const Table<k8s::Node>> nodes = std::make_shared<Table<k8s::Node>>();
    std::shared_ptr<const Table<k8s::ServiceAccount>> service_accounts = std::make_shared<Table<k8s::ServiceAccount>>();
    std::shared_ptr<const Table<k8s::Pod>> pods = std::make_shared<Table<k8s::Pod>>();
    std::shared_ptr<const Table<k8s::Deployment>> deployments = std::make_shared<Table<k8s::Deployment>>();
    std::shared_ptr<const Table<k8s::Service>> services = std::make_shared<Table<k8s::Service>>();
    std::shared_ptr<const Table<k8s::EndpointSlice>> slices = std::make_shared<Table<k8s::EndpointSlice>>();
    std::shared_ptr<const Table<k8s::NetworkPolicy>> policies = std::make_shared<Table<k8s::NetworkPolicy>>();
    std::shared_ptr<const Table<k8s::MeshTls>> mesh_tls = std::make_shared<Table<k8s::MeshTls>>();
    std::shared_ptr<const Table<k8s::MeshConfig>> mesh_configs = std::make_shared<Table<k8s::MeshConfig>>();
    /// By container id; pods of this node only.
    std::shared_ptr<const std::map<std::string, LocalEndpoint>> endpoints =
        std::make_shared<std::map<std::string, LocalEndpoint>>();
    std::shared_ptr<const std::vector<Refusal>> refusals = std::make_shared<std::vector<Refusal>>();
};

} // namespace weft::store
