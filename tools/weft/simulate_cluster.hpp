// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A cluster that exists only as objects: manifests are completed as a control plane would complete them (nodes, pods of
// Deployments, addresses, EndpointSlices), compiled for every node, and asked what would happen.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/compiler/compiler.hpp"
#include "agent/store/snapshot.hpp"
#include "agent/verdict/verdict.hpp"
#include "tools/probe/probe.hpp"

namespace weft::simulate {

/// Objects of a folder, with what was refused.
struct Manifests {
    std::vector<k8s::Object> objects;
    std::vector<store::Refusal> refusals;
};

/// Reads every *.yaml, *.yml and *.json below `folder`, in order of their paths. Error: the folder cannot be read.
Result<Manifests> read_manifests(const std::string& folder);

class Cluster {
public:
    /// Completes and compiles. `default_nodes`: how many nodes there are when the manifests have none.
    Cluster(const std::vector<k8s::Object>& objects, int default_nodes);
    ~Cluster();
    Cluster(const Cluster&) = delete;
    Cluster& operator=(const Cluster&) = delete;

    /// What `weft lab probe` would answer.
    [[nodiscard]] probe::Answer answer(const probe::Probe& probe) const;
    /// What the compiler could not enforce.
    [[nodiscard]] std::vector<store::Refusal> refusals() const;

private:
    struct Node;
    struct Party;

    void complete_nodes(int default_nodes);
    void complete_pods();
    void complete_services();
    void compile();

    [[nodiscard]] Result<Party> party(const probe::End& end) const;
    [[nodiscard]] Result<Party> pod_party(const store::Name& name) const;
    [[nodiscard]] Result<Party> address_party(const Ip& ip) const;
    /// What the name of a Service resolves to.
    [[nodiscard]] Result<std::vector<Ip>> addresses_of(const probe::ServiceEnd& end, const probe::Probe& probe) const;
    /// A connection to an address, through the Service that has it.
    [[nodiscard]] probe::Answer dial(const Party& from, const Ip& ip, std::uint8_t protocol, std::uint16_t port) const;
    /// A connection to `ip` of `to`, policy at both ends.
    [[nodiscard]] probe::Answer judge(const Party& from, const Party& to, const Ip& ip, std::uint8_t protocol,
                                      std::uint16_t port) const;
    [[nodiscard]] std::string rule_text(const Node& node, std::uint64_t rule) const;

    store::Table<k8s::Namespace> namespaces_;
    store::Table<k8s::Node> node_objects_;
    store::Table<k8s::Service> services_;
    store::Table<k8s::EndpointSlice> slices_;
    store::Table<k8s::NetworkPolicy> policies_;
    std::vector<k8s::Pod> pods_; ///< while completing
    store::Table<k8s::Pod> pod_table_;
    std::map<store::Name, Ip> externals_; ///< pods that stand for hosts outside the cluster
    std::map<std::string, std::unique_ptr<Node>> nodes_;
    std::map<store::Name, std::uint64_t> cookies_;
    std::map<Ip, store::Name> pod_by_ip_;
    std::set<Ip> service_addresses_;
};

} // namespace weft::simulate
