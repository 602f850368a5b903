// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/compiler/policies.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <optional>

#include "agent/compiler/port_ranges.hpp"
#include "weft/abi/reasons.h"
#include "weft/base/content_hash.hpp"

namespace weft::compiler {
namespace {

using k8s::NetworkPolicy;

void add_selector(ContentHash& hash, const std::optional<k8s::LabelSelector>& selector) {
    hash.add(std::uint64_t{selector.has_value()});
    if (!selector) {
        return;
    }
    hash.add(std::uint64_t{selector->match_labels.size()});
    for (const auto& [key, value] : selector->match_labels) {
        hash.add(key).add(value);
    }
    hash.add(std::uint64_t{selector->match_expressions.size()});
    for (const auto& requirement : selector->match_expressions) {
        hash.add(requirement.key)
            .add(static_cast<std::uint64_t>(requirement.op))
            .add(std::uint64_t{requirement.values.size()});
        for (const auto& value : requirement.values) {
            hash.add(value);
        }
    }
}

void add_rules(ContentHash& hash, const std::vector<k8s::PolicyRule>& rules) {
    hash.add(std::uint64_t{rules.size()});
    for (const auto& rule : rules) {
        hash.add(std::uint64_t{rule.peers.size()});
        for (const auto& peer : rule.peers) {
            add_selector(hash, peer.pod_selector);
            add_selector(hash, peer.namespace_selector);
            hash.add(std::uint64_t{peer.ip_block.has_value()});
            if (peer.ip_block) {
                hash.add(peer.ip_block->cidr.to_string()).add(std::uint64_t{peer.ip_block->except.size()});
                for (const auto& except : peer.ip_block->except) {
                    hash.add(except.to_string());
                }
            }
        }
        hash.add(std::uint64_t{rule.ports.size()});
        for (const auto& port : rule.ports) {
            hash.add(std::uint64_t{port.protocol}).add(std::uint64_t{port.port.has_value()});
            if (port.port && std::holds_alternative<std::string>(*port.port)) {
                hash.add(std::get<std::string>(*port.port));
            } else if (port.port) {
                hash.add(std::uint64_t{std::get<std::uint16_t>(*port.port)})
                    .add(std::uint64_t{port.end_port.value_or(0)});
            }
        }
    }
}

bool matches(const k8s::PolicyPeer& peer, const std::string& policy_namespace, const IdentityFacts& identity) {
    if (peer.ip_block) {
        const auto inside = [&](const Cidr& block) { return std::ranges::count(identity.blocks, block) > 0; };
        return inside(peer.ip_block->cidr) && std::ranges::none_of(peer.ip_block->except, inside);
    }
    if (!identity.pod) {
        return false;
    }
    const bool namespace_fits = peer.namespace_selector ? peer.namespace_selector->matches(*identity.namespace_labels)
                                                        : identity.namespace_name == policy_namespace;
    return namespace_fits && (!peer.pod_selector || peer.pod_selector->matches(*identity.labels));
}

bool names_a_port(const k8s::PolicyPort& port) {
    return port.port && std::holds_alternative<std::string>(*port.port);
}

/// Container ports of a pod that carry this name and protocol.
std::vector<std::uint16_t> resolve(const k8s::Pod& pod, const std::string& name, std::uint8_t protocol) {
    std::vector<std::uint16_t> ports;
    for (const auto& container : pod.spec.containers) {
        for (const auto& port : container.ports) {
            if (port.name == name && port.protocol == protocol) {
                ports.push_back(port.port);
            }
        }
    }
    return ports;
}

} // namespace

/// The ports that one identity may use: everything (`all`), or prefixes, each with the first rule that opened it.
struct PolicyCompiler::Opened {
    struct Prefix {
        std::uint8_t protocol = 0;
        std::uint16_t port = 0;
        int bits = 0; ///< 0: every port of the protocol
        friend auto operator<=>(const Prefix&, const Prefix&) = default;
    };
    std::optional<std::uint64_t> all; ///< rule
    std::map<Prefix, std::uint64_t> prefixes;

    void open(std::uint8_t protocol, std::uint16_t first, std::uint16_t last, std::uint64_t rule) {
        for (const auto& prefix : port_prefixes(first, last)) {
            prefixes.try_emplace({protocol, prefix.port, prefix.bits}, rule);
        }
    }
    [[nodiscard]] bool empty() const { return !all && prefixes.empty(); }
};

std::uint64_t rule_id(const NetworkPolicy& policy, std::uint32_t direction, std::size_t index) {
    return ContentHash("rule")
        .add(policy.meta.namespace_name)
        .add(policy.meta.name)
        .add(std::uint64_t{direction})
        .add(std::uint64_t{index})
        .id();
}

PolicyCompiler::PolicyCompiler(const store::Snapshot& snapshot, const Identities& identities, PolicyImage& image,
                               Names& names)
    : snapshot_(snapshot), identities_(identities), image_(image), names_(names) {}

PolicyClass PolicyCompiler::classify(const k8s::Pod& pod) {
    PolicyClass result;
    std::vector<const NetworkPolicy*> selecting;
    // Tables are sorted by (namespace, name): a namespace's policies are neighbours.
    for (auto it = snapshot_.policies->lower_bound({pod.meta.namespace_name, ""});
         it != snapshot_.policies->end() && it->first.first == pod.meta.namespace_name; ++it) {
        if (it->second->pod_selector.matches(pod.meta.labels)) {
            selecting.push_back(it->second.get());
            result.flags |= (it->second->affects_ingress ? WEFT_ENDPOINT_ISOLATED_INGRESS : 0U) |
                            (it->second->affects_egress ? WEFT_ENDPOINT_ISOLATED_EGRESS : 0U);
        }
    }
    if (selecting.empty()) {
        return result;
    }
    ContentHash hash("policy");
    for (const auto* policy : selecting) {
        hash.add(policy->meta.namespace_name).add(policy->meta.name);
        hash.add(std::uint64_t{policy->affects_ingress}).add(std::uint64_t{policy->affects_egress});
        add_rules(hash, policy->ingress);
        add_rules(hash, policy->egress);
        for (const auto& rule : policy->ingress) {
            for (const auto& port : rule.ports) {
                if (names_a_port(port)) {
                    for (const auto number : resolve(pod, std::get<std::string>(*port.port), port.protocol)) {
                        hash.add(std::uint64_t{number});
                    }
                    hash.add("end");
                }
            }
        }
    }
    result.id = hash.id();
    if (!names_.policies.contains(result.id)) {
        write_class(result.id, selecting, pod);
    }
    return result;
}

void PolicyCompiler::write_class(std::uint64_t id, const std::vector<const NetworkPolicy*>& policies,
                                 const k8s::Pod& pod) {
    auto& name = names_.policies[id];
    for (const auto* policy : policies) {
        name.selected_by.push_back(policy->meta.namespace_name + "/" + policy->meta.name);
    }
    write_direction(id, WEFT_INGRESS, policies, pod);
    write_direction(id, WEFT_EGRESS, policies, pod);
}

void PolicyCompiler::write_direction(std::uint64_t id, std::uint32_t direction,
                                     const std::vector<const NetworkPolicy*>& policies, const k8s::Pod& pod) {
    Opened anyone;
    std::unordered_map<std::uint64_t, Opened> by_identity;
    for (const auto* policy : policies) {
        if (!(direction == WEFT_INGRESS ? policy->affects_ingress : policy->affects_egress)) {
            continue;
        }
        const auto& rules = direction == WEFT_INGRESS ? policy->ingress : policy->egress;
        for (std::size_t index = 0; index < rules.size(); ++index) {
            const auto& rule = rules[index];
            const auto number = rule_id(*policy, direction, index);
            names_.rules[number] = {policy->meta.namespace_name + "/" + policy->meta.name,
                                    fmt::format("{}/{} {}[{}]", policy->meta.namespace_name, policy->meta.name,
                                                direction == WEFT_INGRESS ? "ingress" : "egress", index)};
            // Egress ports that are named mean another number for each peer.
            const auto open_for = [&](Opened& opened, const IdentityFacts* peer) {
                if (rule.ports.empty() && !opened.all) {
                    opened.all = number;
                }
                for (const auto& port : rule.ports) {
                    if (!port.port) {
                        opened.prefixes.try_emplace({port.protocol, 0, 0}, number);
                    } else if (!names_a_port(port)) {
                        const auto first = std::get<std::uint16_t>(*port.port);
                        opened.open(port.protocol, first, port.end_port.value_or(first), number);
                    } else if (direction == WEFT_INGRESS) {
                        for (const auto resolved : resolve(pod, std::get<std::string>(*port.port), port.protocol)) {
                            opened.open(port.protocol, resolved, resolved, number);
                        }
                    } else if (peer != nullptr) {
                        for (const auto& named : peer->named_ports) {
                            if (named.name == std::get<std::string>(*port.port) && named.protocol == port.protocol) {
                                opened.open(port.protocol, named.port, named.port, number);
                            }
                        }
                    }
                }
            };
            const bool per_peer = direction == WEFT_EGRESS && std::ranges::any_of(rule.ports, names_a_port);
            if (rule.peers.empty()) {
                open_for(anyone, nullptr);
                if (!per_peer) {
                    continue;
                }
            }
            for (const auto& [identity, facts] : identities_.by_id) {
                const bool named =
                    rule.peers.empty() || std::ranges::any_of(rule.peers, [&](const k8s::PolicyPeer& peer) {
                        return matches(peer, policy->meta.namespace_name, facts);
                    });
                if (named) {
                    open_for(by_identity[identity], &facts);
                }
            }
        }
    }
    write_entry(id, WEFT_IDENTITY_ANY, direction, anyone);
    for (const auto& [identity, opened] : by_identity) {
        write_entry(id, identity, direction, opened);
    }
}

void PolicyCompiler::write_entry(std::uint64_t id, std::uint64_t identity, std::uint32_t direction,
                                 const Opened& opened) {
    if (opened.empty()) {
        return;
    }
    const weft_policy_key key{id, identity, direction, 0};
    if (opened.all) {
        image_.policies[key] = {0, *opened.all};
        return;
    }
    ContentHash hash("ports");
    for (const auto& [prefix, rule] : opened.prefixes) {
        hash.add(std::uint64_t{prefix.protocol})
            .add(std::uint64_t{prefix.port})
            .add(static_cast<std::uint64_t>(prefix.bits))
            .add(rule);
    }
    const auto ports = hash.id();
    for (const auto& [prefix, rule] : opened.prefixes) {
        image_.ports[{static_cast<__u32>(WEFT_PORTS_PREFIX + prefix.bits), static_cast<__u32>(ports >> 32),
                      static_cast<__u32>(ports), prefix.protocol, 0, htons(prefix.port)}] = rule;
    }
    image_.policies[key] = {ports, 0};
}

} // namespace weft::compiler
