// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// NetworkPolicy, networking.k8s.io/v1. A policy that is not understood whole is refused: a misspelt field would
// otherwise open what its author meant to close.
#include <fmt/format.h>

#include "agent/k8s/kinds.hpp"

namespace weft::k8s {
namespace {

IpBlock parse_block(const Field& field) {
    IpBlock block;
    if (!field.required_map()) {
        return block;
    }
    field.only({"cidr", "except"});
    const auto cidr = field.at("cidr").cidr();
    block.cidr = cidr.value_or(Cidr{});
    const Field except = field.at("except");
    except.items([&](const Field& item) {
        const auto inner = item.cidr();
        if (!inner) {
            return;
        }
        if (cidr && (inner->bits() <= cidr->bits() || inner->is_v4() != cidr->is_v4() || !cidr->contains(*inner))) {
            item.fault(fmt::format("{} is not a smaller block within {}: use a part of cidr", inner->to_string(),
                                   cidr->to_string()));
        }
        block.except.push_back(*inner);
    });
    return block;
}

PolicyPeer parse_peer(const Field& item) {
    PolicyPeer peer;
    if (!item.required_map()) {
        return peer;
    }
    item.only({"podSelector", "namespaceSelector", "ipBlock"});
    const Field pods = item.at("podSelector");
    const Field namespaces = item.at("namespaceSelector");
    const Field block = item.at("ipBlock");
    if (pods.map()) {
        peer.pod_selector = parse_selector(pods);
    }
    if (namespaces.map()) {
        peer.namespace_selector = parse_selector(namespaces);
    }
    if (!block.missing()) {
        peer.ip_block = parse_block(block);
        if (!pods.missing() || !namespaces.missing()) {
            block.fault("ipBlock excludes podSelector and namespaceSelector: make it a peer of its own ('- ipBlock:')");
        }
    } else if (pods.missing() && namespaces.missing()) {
        item.fault(
            "an empty peer is not allowed: give podSelector, namespaceSelector or ipBlock; for every peer leave out "
            "the whole list");
    }
    return peer;
}

PolicyPort parse_port(const Field& item) {
    PolicyPort parsed;
    if (item.missing()) {
        item.fault("an empty item: remove it, or write {} for every TCP port");
        return parsed;
    }
    if (!item.map()) {
        return parsed;
    }
    item.only({"protocol", "port", "endPort"});
    parsed.protocol = item.at("protocol").protocol();
    const Field port = item.at("port");
    parsed.port = port.port_or_name();
    const Field end = item.at("endPort");
    if (end.missing()) {
        return parsed;
    }
    parsed.end_port = end.port();
    if (port.missing()) {
        end.fault("needs port: give the range's first port");
    } else if (parsed.port && std::holds_alternative<std::string>(*parsed.port)) {
        end.fault("a named port cannot begin a range: give port as a number");
    } else if (parsed.port && parsed.end_port && *parsed.end_port < std::get<std::uint16_t>(*parsed.port)) {
        end.fault(fmt::format("{} is below port {}: give the range's last port", *parsed.end_port,
                              std::get<std::uint16_t>(*parsed.port)));
    }
    return parsed;
}

std::vector<PolicyRule> parse_rules(const Field& rules, std::string_view peers_name) {
    std::vector<PolicyRule> parsed;
    rules.items([&](const Field& item) {
        if (item.missing()) {
            item.fault("an empty item: remove it, or write {} to allow everything");
            return;
        }
        if (!item.map()) {
            return;
        }
        item.only({peers_name, "ports"});
        PolicyRule rule;
        const Field peers = item.at(peers_name);
        peers.items([&](const Field& peer) { rule.peers.push_back(parse_peer(peer)); });
        const Field ports = item.at("ports");
        ports.items([&](const Field& port) { rule.ports.push_back(parse_port(port)); });
        parsed.push_back(std::move(rule));
    });
    return parsed;
}

} // namespace

NetworkPolicy parse_policy(const Field& root, Meta meta) {
    NetworkPolicy policy;
    policy.meta = std::move(meta);
    const Field spec = root.at("spec");
    if (spec.missing()) {
        spec.fault("required: to select all pods of the namespace write spec: {podSelector: {}}");
        return policy;
    }
    if (!spec.map()) {
        return policy;
    }
    spec.only({"podSelector", "policyTypes", "ingress", "egress"});
    policy.pod_selector = parse_selector(spec.at("podSelector"));
    policy.ingress = parse_rules(spec.at("ingress"), "from");
    policy.egress = parse_rules(spec.at("egress"), "to");
    const Field types = spec.at("policyTypes");
    if (types.count() == 0) {
        types.items([](const Field&) {}); // a wrong type is a fault, an empty list is as none
        policy.affects_ingress = true;
        policy.affects_egress = !policy.egress.empty();
        return policy;
    }
    if (types.count() > 2) {
        types.fault("at most two: Ingress and Egress");
    }
    policy.affects_ingress = false;
    types.items([&](const Field& item) {
        const std::string type = item.one_of({"Ingress", "Egress"}, "");
        if (type.empty() && item.missing()) {
            item.fault("an empty item: use Ingress or Egress");
        }
        policy.affects_ingress |= type == "Ingress";
        policy.affects_egress |= type == "Egress";
    });
    return policy;
}

} // namespace weft::k8s
