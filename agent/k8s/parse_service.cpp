// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Service, as the API server validates it.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "agent/k8s/kinds.hpp"

namespace weft::k8s {
namespace {

Service::Type type_of(const Field& field) {
    const std::string name = field.one_of({"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}, "ClusterIP");
    return name == "NodePort"       ? Service::Type::kNodePort
           : name == "LoadBalancer" ? Service::Type::kLoadBalancer
           : name == "ExternalName" ? Service::Type::kExternalName
                                    : Service::Type::kClusterIp;
}

bool is_text(const Field& field, std::string_view text) {
    return !field.missing() && field.value()->kind == Value::Kind::kScalar && field.value()->text == text;
}

void parse_cluster_ips(const Field& spec, Service& service) {
    const Field single = spec.at("clusterIP");
    const Field several = spec.at("clusterIPs");
    if (is_text(single, "None")) {
        service.headless = true;
    }
    several.items([&](const Field& item) {
        if (is_text(item, "None") && several.count() == 1) {
            service.headless = true;
        } else if (const auto ip = item.ip()) {
            check_unicast(item, *ip);
            service.cluster_ips.push_back(*ip);
        }
    });
    if (service.headless) {
        const bool mixed =
            !service.cluster_ips.empty() || (!single.missing() && !is_text(single, "None") && !is_text(single, ""));
        if (mixed) {
            single.fault("'None' and an address exclude each other in clusterIP and clusterIPs");
        }
        return;
    }
    if (!single.missing() && !is_text(single, "")) {
        const auto ip = single.ip();
        if (ip && service.cluster_ips.empty()) {
            check_unicast(single, *ip);
            service.cluster_ips.push_back(*ip);
        } else if (ip && service.cluster_ips.front() != *ip) {
            single.fault("differs from spec.clusterIPs[0]: make them equal or remove one");
        }
    }
    if (service.cluster_ips.size() > 2 ||
        (service.cluster_ips.size() == 2 && service.cluster_ips[0].is_v4() == service.cluster_ips[1].is_v4())) {
        several.fault("at most one address of each family");
    }
}

void parse_families(const Field& spec, Service& service) {
    const Field families = spec.at("ipFamilies");
    families.items([&](const Field& item) {
        const bool v6 = item.one_of({"IPv4", "IPv6"}, "IPv4") == "IPv6";
        bool& wanted = v6 ? service.wants_v6 : service.wants_v4;
        if (wanted) {
            item.fault("a family may be named once");
        }
        wanted = true;
    });
    (void)spec.at("ipFamilyPolicy").one_of({"SingleStack", "PreferDualStack", "RequireDualStack"}, "SingleStack");
    if (families.count() == 0) {
        return;
    }
    for (const Ip& ip : service.cluster_ips) {
        if (!(ip.is_v4() ? service.wants_v4 : service.wants_v6)) {
            families.fault(fmt::format("does not name the family of cluster IP {}", ip.to_string()));
        }
    }
}

void parse_ports(const Field& spec, Service& service) {
    const Field ports = spec.at("ports");
    if (ports.count() == 0 && !service.headless && service.type != Service::Type::kExternalName) {
        ports.fault("required: a Service that is not headless needs at least one port");
    }
    std::set<std::string> names;
    std::set<std::pair<std::uint8_t, std::uint16_t>> numbers;
    std::set<std::pair<std::uint8_t, std::uint16_t>> node_ports;
    ports.items([&](const Field& item) {
        if (!item.required_map()) {
            return;
        }
        item.only({"name", "protocol", "appProtocol", "port", "targetPort", "nodePort"});
        ServicePort port;
        const Field name = item.at("name");
        port.name = name.string();
        if (port.name.empty() && ports.count() > 1) {
            name.fault("required: every port of a Service with several ports needs a name");
        } else if (!port.name.empty()) {
            name.check(dns_label_fault(port.name));
            if (!names.insert(port.name).second) {
                name.fault(fmt::format("port name '{}' is used twice in this Service", port.name));
            }
        }
        port.protocol = item.at("protocol").protocol();
        const Field number = item.at("port");
        if (number.missing()) {
            number.fault("required: give the port's number");
        }
        port.port = number.port().value_or(0);
        if (port.port != 0 && !numbers.emplace(port.protocol, port.port).second) {
            number.fault(
                fmt::format("{} port {} is used twice in this Service", protocol_name(port.protocol), port.port));
        }
        const Field target = item.at("targetPort");
        port.target_port = is_text(target, "") || is_text(target, "0") ? PortRef(port.port)
                                                                       : target.port_or_name().value_or(port.port);
        const Field node_port = item.at("nodePort");
        port.node_port = static_cast<std::uint16_t>(node_port.integer(0, 65535).value_or(0));
        if (port.node_port != 0) {
            if (service.type != Service::Type::kNodePort && service.type != Service::Type::kLoadBalancer) {
                node_port.fault("only a Service of type NodePort or LoadBalancer may have a node port");
            } else if (!node_ports.emplace(port.protocol, port.node_port).second) {
                node_port.fault(fmt::format("node port {} is used twice in this Service", port.node_port));
            }
        }
        service.ports.push_back(std::move(port));
    });
}

void parse_affinity(const Field& spec, Service& service) {
    service.client_ip_affinity = spec.at("sessionAffinity").one_of({"None", "ClientIP"}, "None") == "ClientIP";
    const Field config = spec.at("sessionAffinityConfig");
    if (!config.map()) {
        return;
    }
    const Field client_ip = config.at("clientIP");
    if (!client_ip.map()) {
        return;
    }
    if (!service.client_ip_affinity) {
        config.fault("is allowed with sessionAffinity: ClientIP only");
    }
    service.affinity_timeout_seconds =
        static_cast<int>(client_ip.at("timeoutSeconds").integer(1, 86'400).value_or(10'800));
}

void parse_load_balancer(const Field& status, Service& service) {
    if (!status.map()) {
        return;
    }
    const Field balancer = status.at("loadBalancer");
    if (!balancer.map()) {
        return;
    }
    const Field ingress = balancer.at("ingress");
    ingress.items([&](const Field& item) {
        if (!item.required_map()) {
            return;
        }
        const bool vip = item.at("ipMode").one_of({"VIP", "Proxy"}, "VIP") == "VIP";
        const Field address = item.at("ip");
        if (address.missing() || is_text(address, "")) {
            return; // given by host name only: nothing to dial by address
        }
        const auto ip = address.ip();
        if (ip && vip) {
            service.load_balancer_ips.push_back(*ip);
        }
    });
}

} // namespace

Service parse_service(const Field& root, Meta meta) {
    Service service;
    service.meta = std::move(meta);
    const Field spec = root.at("spec");
    if (!spec.required_map()) {
        return service;
    }
    service.type = type_of(spec.at("type"));
    if (service.type != Service::Type::kExternalName) {
        parse_cluster_ips(spec, service);
        parse_families(spec, service);
    } else {
        (void)spec.at("externalName").required_string();
    }
    if (service.headless && service.type != Service::Type::kClusterIp) {
        spec.at("clusterIP").fault("'None' is allowed with type ClusterIP only");
    }
    parse_ports(spec, service);
    const Field external = spec.at("externalIPs");
    external.items([&](const Field& item) {
        if (const auto ip = item.ip()) {
            check_unicast(item, *ip);
            service.external_ips.push_back(*ip);
        }
    });
    service.selector = spec.at("selector").labels(true);
    parse_affinity(spec, service);
    service.internal_traffic_local =
        spec.at("internalTrafficPolicy").one_of({"Cluster", "Local"}, "Cluster") == "Local";
    (void)spec.at("externalTrafficPolicy").one_of({"Cluster", "Local"}, "Cluster");
    const Field distribution = spec.at("trafficDistribution");
    const std::string preferred = distribution.one_of({"PreferClose", "PreferSameZone", "PreferSameNode"}, "");
    service.distribution = preferred.empty()               ? Service::Distribution::kAny
                           : preferred == "PreferSameNode" ? Service::Distribution::kPreferSameNode
                                                           : Service::Distribution::kPreferSameZone;
    service.publish_not_ready = spec.at("publishNotReadyAddresses").boolean(false);
    parse_load_balancer(root.at("status"), service);
    return service;
}

} // namespace weft::k8s
