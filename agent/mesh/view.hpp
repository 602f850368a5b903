// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the mesh's workers need to know of the cluster: immutable, made by the control thread, swapped whole.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/k8s/objects.hpp"
#include "weft/base/ip.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/base/result.hpp"
#include "weft/ktls/handshake.hpp"

namespace weft::mesh {

/// An enrolled pod of this node.
struct Workload {
    std::uint64_t netns_cookie = 0;
    std::string netns_path;
    std::string namespace_name;
    std::string pod_name;
    SpiffeId id;
    k8s::TlsMode mode = k8s::TlsMode::kPermissive;
    std::map<std::uint16_t, k8s::TlsMode> ports; ///< exceptions, by the workload's own port
    Ip addr4;            ///< unspecified when it has none
    Ip addr6;

    [[nodiscard]] std::string name() const { return namespace_name + "/" + pod_name; }
    /// It takes no plaintext on this port from other nodes.
    [[nodiscard]] bool strict(std::uint16_t port) const {
        const auto found = ports.find(port);
        return (found == ports.end() ? mode : found->second) == k8s::TlsMode::kStrict;
    }
    friend bool operator==(const Workload&, const Workload&) = default;
};

/// Addresses that belong to workloads of another trust domain.
struct ForeignBlock {
    Cidr block;
    std::string trust_domain;
};

struct View {
    /// By netns cookie.
    std::map<std::uint64_t, std::shared_ptr<const Workload>> workloads;
    /// The identity that the pod at an address of another node may have.
    std::unordered_map<Ip, SpiffeId> peers;
    /// Addresses of this cluster's pods and nodes, wherever they are: never another trust domain's.
    std::unordered_set<Ip> own_addresses;
    /// No two of different trust domains overlap.
    std::vector<ForeignBlock> foreign;
    /// Certificates in force, by identity; one that is missing or expired is not here, so its connections fail closed.
    std::map<SpiffeId, std::shared_ptr<const ktls::Context>> contexts;
    /// Serial numbers of certificates and identities that the authority has taken back.
    std::set<std::string> revoked;

    /// The other trust domain whose workloads may be at an address; null for addresses of this cluster's, and for
    /// those that no block holds.
    [[nodiscard]] const std::string* foreign_domain(const Ip& ip) const;
    /// May `peer` be at `addr`? A pod's address admits that pod's identity alone; one in a foreign block any identity
    /// of that block's trust domain; all others nobody. Asked inside the handshake; the error says what is wrong.
    [[nodiscard]] Result<> authorise(const weft_addr& addr, const ktls::Peer& peer) const;
    /// Is an end of it taken back, by name or by number?
    [[nodiscard]] bool is_revoked(const SpiffeId& id, const std::string& serial) const {
        return revoked.contains(serial) || revoked.contains(id.to_string());
    }
};

} // namespace weft::mesh
