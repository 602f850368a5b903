// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/unit/simulate/naive_evaluator.hpp"

#include <algorithm>

namespace weft::test {
namespace {

// "matchLabels is a map of {key,value} pairs ... equivalent to an element of matchExpressions, whose operator is In";
// "The requirements are ANDed"; "An empty label selector matches all objects".
bool selects(const k8s::LabelSelector& selector, const k8s::Labels& labels) {
    for (const auto& [key, value] : selector.match_labels) {
        if (!labels.contains(key) || labels.at(key) != value) {
            return false;
        }
    }
    for (const auto& requirement : selector.match_expressions) {
        const bool present = labels.contains(requirement.key);
        bool listed = false;
        for (const auto& value : requirement.values) {
            listed = listed || (present && labels.at(requirement.key) == value);
        }
        using Op = k8s::LabelRequirement::Operator;
        if ((requirement.op == Op::kExists && !present) || (requirement.op == Op::kDoesNotExist && present) ||
            (requirement.op == Op::kIn && !listed) || (requirement.op == Op::kNotIn && listed)) {
            return false;
        }
    }
    return true;
}

const k8s::Labels& labels_of_namespace(const NaiveCluster& cluster, const std::string& name) {
    for (const auto& ns : cluster.namespaces) {
        if (ns.meta.name == name) {
            return ns.meta.labels;
        }
    }
    static const k8s::Labels kNone;
    return kNone;
}

// "podSelector: ... selects the pods matching PodSelector in the policy's own namespace";
// "namespaceSelector: ... all pods in the namespaces selected"; both: "the pods matching PodSelector in the Namespaces
// selected by NamespaceSelector"; "ipBlock ... except: ... IPs that should not be included within an IP block".
bool peer_fits(const NaiveCluster& cluster, const k8s::NetworkPolicy& policy, const k8s::PolicyPeer& peer,
               const NaiveEnd& end) {
    if (peer.ip_block) {
        if (!peer.ip_block->cidr.contains(end.ip)) {
            return false;
        }
        return std::none_of(peer.ip_block->except.begin(), peer.ip_block->except.end(),
                            [&](const Cidr& except) { return except.contains(end.ip); });
    }
    if (end.pod == nullptr) {
        return false;
    }
    if (peer.namespace_selector) {
        if (!selects(*peer.namespace_selector, labels_of_namespace(cluster, end.pod->meta.namespace_name))) {
            return false;
        }
    } else if (end.pod->meta.namespace_name != policy.meta.namespace_name) {
        return false;
    }
    return !peer.pod_selector || selects(*peer.pod_selector, end.pod->meta.labels);
}

// "port: ... a numerical or named port on a pod. If this field is not provided, this matches all port names and
// numbers"; "endPort: ... the range of ports from port to endPort if set, inclusive".
bool port_fits(const k8s::PolicyPort& rule, const NaiveEnd& destination, std::uint8_t protocol, std::uint16_t port) {
    if (rule.protocol != protocol) {
        return false;
    }
    if (!rule.port) {
        return true;
    }
    if (const auto* number = std::get_if<std::uint16_t>(&*rule.port)) {
        return port >= *number && port <= rule.end_port.value_or(*number);
    }
    if (destination.pod == nullptr) {
        return false;
    }
    for (const auto& container : destination.pod->spec.containers) {
        for (const auto& named : container.ports) {
            if (named.name == std::get<std::string>(*rule.port) && named.protocol == protocol && named.port == port) {
                return true;
            }
        }
    }
    return false;
}

bool direction_allows(const NaiveCluster& cluster, bool ingress, const NaiveEnd& self, const NaiveEnd& peer,
                      const NaiveEnd& destination, std::uint8_t protocol, std::uint16_t port) {
    if (self.pod == nullptr) {
        return true;
    }
    bool isolated = false;
    for (const auto& policy : cluster.policies) {
        if (policy.meta.namespace_name != self.pod->meta.namespace_name ||
            !selects(policy.pod_selector, self.pod->meta.labels) ||
            !(ingress ? policy.affects_ingress : policy.affects_egress)) {
            continue;
        }
        isolated = true;
        for (const auto& rule : ingress ? policy.ingress : policy.egress) {
            bool peer_ok = rule.peers.empty();
            for (const auto& candidate : rule.peers) {
                peer_ok = peer_ok || peer_fits(cluster, policy, candidate, peer);
            }
            bool port_ok = rule.ports.empty();
            for (const auto& candidate : rule.ports) {
                port_ok = port_ok || port_fits(candidate, destination, protocol, port);
            }
            if (peer_ok && port_ok) {
                return true;
            }
        }
    }
    return !isolated;
}

} // namespace

bool naive_allowed(const NaiveCluster& cluster, const NaiveEnd& from, const NaiveEnd& to, std::uint8_t protocol,
                   std::uint16_t port) {
    if (from.pod != nullptr && from.pod == to.pod) {
        return true; // "a Pod cannot block access to itself"
    }
    return direction_allows(cluster, false, from, to, to, protocol, port) &&
           direction_allows(cluster, true, to, from, to, protocol, port);
}

} // namespace weft::test
