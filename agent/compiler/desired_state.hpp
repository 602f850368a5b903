// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the kernel's maps are to contain: the compiler's only output, the reconciler's only input. Plain values,
// comparable, no kernel needed. Fragments are immutable and shared, so an unchanged one is recognised by its address.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/store/snapshot.hpp"
#include "weft/abi/endpoint.h"
#include "weft/abi/policy.h"
#include "weft/abi/service.h"

namespace weft::compiler {

/// Hash and equality of ABI structs: their bytes (they have no hidden padding).
struct AbiHash {
    template <typename T>
    std::size_t operator()(const T& value) const noexcept {
        return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&value), sizeof value});
    }
};
struct AbiEqual {
    template <typename T>
    bool operator()(const T& a, const T& b) const noexcept {
        return std::memcmp(&a, &b, sizeof a) == 0;
    }
};
template <typename K, typename V>
using Image = std::unordered_map<K, V, AbiHash, AbiEqual>;

/// Everything that one port of one Service puts into maps. Two fragments may share a set (same content, same id).
struct ServiceFragment {
    std::string namespace_name;
    std::string name;
    std::string port_name;            ///< as in the Service; empty when unnamed
    std::uint8_t protocol = 0;
    std::string scope; ///< "cluster" (clusterIPs) or "external" (node ports, externalIPs, load-balancer IPs)
    std::uint64_t service_id = 0;
    std::string algorithm; ///< "random", "round-robin", "maglev", "least-connections"
    std::vector<std::pair<weft_addr_port, weft_service>> frontends;
    std::vector<weft_slot> slots; ///< index = slot number; set id = frontends' weft_service.set
    std::vector<std::uint16_t> maglev; ///< WEFT_MAGLEV_SIZE slot indices, or empty
    std::vector<weft_addr_port> members; ///< backends for weft_member; empty unless choices are remembered
    std::uint64_t set_id = 0;
    /// How each backend is shown: pod name (or empty), node, zone, condition.
    struct BackendInfo {
        weft_addr_port address;
        std::string pod, node, zone;
        bool ready = true, serving = true, terminating = false, used = true;
        std::uint32_t weight = 1;
    };
    std::vector<BackendInfo> backends;
};

/// Identities, policies and endpoints; small enough to compare whole.
struct PolicyImage {
    Image<std::uint64_t, weft_endpoint> endpoints; ///< by netns cookie
    Image<weft_addr, std::uint64_t>
        local_addresses; ///< weft_local: address -> netns cookie, for sockets without storage
    Image<weft_addr, weft_peer> ipcache;
    Image<weft_cidr_key, weft_peer> cidrs;
    Image<weft_policy_key, weft_policy_entry> policies;
    Image<weft_ports_key, std::uint64_t> ports;
    Image<weft_addr, std::uint32_t>
        node_addresses; ///< weft_node_addr: addresses that accept node ports; value 1 = this node
    Image<weft_addr_port, std::uint32_t> tls_ports; ///< weft_tls_port: WEFT_TLS_*, where a port is an exception
};

/// Names for numbers, so that every tool prints both.
struct Names {
    struct Identity {
        std::string namespace_name; ///< empty for CIDR identities
        k8s::Labels labels;
        std::vector<std::string> cidrs; ///< ipBlock prefixes that contain it, shortest first
        std::size_t addresses = 0; ///< addresses that have it now
    };
    struct Rule {
        std::string policy; ///< "ns/name"
        std::string text; ///< "ns/name ingress[0]"
    };
    struct Policy {
        std::vector<std::string> selected_by; ///< "ns/name" of each NetworkPolicy in this class
    };
    struct Workload {
        std::string namespace_name, pod_name;
        k8s::Labels labels;
        std::string service_account, node;
        std::vector<Ip> ips;
        std::uint64_t identity = 0;
        bool host_network = false;
    };
    std::unordered_map<std::uint64_t, Identity> identities;
    std::unordered_map<std::uint64_t, Rule> rules;
    std::unordered_map<std::uint64_t, Policy> policies;
    std::unordered_map<std::uint64_t, std::shared_ptr<const Workload>> workloads; ///< all pods of the cluster
    std::unordered_map<Ip, std::shared_ptr<const Workload>> workload_by_ip;
};

struct DesiredState {
    std::uint64_t snapshot_version = 0;
    /// By service_id.
    SortedMap<std::uint64_t, std::shared_ptr<const ServiceFragment>> services;
    std::shared_ptr<const PolicyImage> policy;
    std::shared_ptr<const Names> names;
    /// Objects that parsed but cannot be enforced or conflict (two Services with one externalIP:port, weight out of
    /// range ...).
    std::vector<store::Refusal> refusals;
};

} // namespace weft::compiler
