// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who is behind an address? Addresses that no policy can tell apart share a number: the same namespace and labels, the
// same ipBlock prefixes around them, the same named ports that some egress rule mentions.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/compiler/compiler.hpp"

namespace weft::compiler {

/// A container port that an egress rule may name.
struct NamedPort {
    std::string name;
    std::uint8_t protocol = 0;
    std::uint16_t port = 0;

    friend auto operator<=>(const NamedPort&, const NamedPort&) = default;
};

/// What policies may ask about a peer.
struct IdentityFacts {
    std::uint64_t id = 0;
    bool pod = false;                              ///< false: an address outside the cluster, or a node's
    std::string namespace_name;
    const k8s::Labels* labels = nullptr;           ///< of the pod; borrowed from the snapshot
    const k8s::Labels* namespace_labels = nullptr; ///< borrowed from the snapshot, or empty labels
    std::vector<Cidr> blocks;                      ///< policy prefixes that contain it, shortest first
    std::vector<NamedPort> named_ports;
    std::size_t addresses = 0;
};

/// All peers of one snapshot.
struct Identities {
    std::unordered_map<std::uint64_t, IdentityFacts> by_id;
    Image<weft_addr, weft_peer> ipcache;
    Image<weft_cidr_key, weft_peer> cidrs;
    Image<weft_addr_port, std::uint32_t> tls_ports; ///< of enrolled pods of other nodes
};

/// The addresses of a pod: what its status says and what CNI said for it on this node.
std::vector<Ip> addresses_of(const k8s::Pod& pod, const std::map<store::Name, std::vector<Ip>>& enrolled);

/// Addresses that CNI reported, by pod.
std::map<store::Name, std::vector<Ip>> enrolled_addresses(const store::Snapshot& snapshot);

/// Names of ports that some egress rule mentions.
std::set<std::string> egress_port_names(const store::Snapshot& snapshot);

/// Labels of a namespace, with kubernetes.io/metadata.name also when there is no Namespace object.
const k8s::Labels& namespace_labels(const store::Snapshot& snapshot, const std::string& name);

/// Collisions of ids (never seen, but an id must never stand for two things) go to `refusals`; the second is left out,
/// so that it counts as an unknown address.
Identities compile_identities(const store::Snapshot& snapshot, const NodeContext& node,
                              std::vector<store::Refusal>& refusals);

} // namespace weft::compiler
