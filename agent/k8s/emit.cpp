// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Writes flow-style YAML with every string in double quotes: JSON in all but name, so nothing depends on YAML's
// guesses about plain scalars, and parsing takes the fast path.
#include "agent/k8s/emit.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace weft::k8s {
namespace {

using Json = nlohmann::ordered_json;

Json meta_json(const Meta& meta, bool namespaced) {
    Json json = Json::object();
    json["name"] = meta.name;
    if (namespaced) {
        json["namespace"] = meta.namespace_name;
    }
    if (!meta.uid.empty()) {
        json["uid"] = meta.uid;
    }
    if (!meta.labels.empty()) {
        json["labels"] = meta.labels;
    }
    if (!meta.annotations.empty()) {
        json["annotations"] = meta.annotations;
    }
    if (meta.deleting) {
        json["deletionTimestamp"] = "1970-01-01T00:00:00Z";
    }
    return json;
}

Json head(const char* api_version, const char* kind, const Meta& meta, bool namespaced) {
    Json json = Json::object();
    json["apiVersion"] = api_version;
    json["kind"] = kind;
    json["metadata"] = meta_json(meta, namespaced);
    return json;
}

Json port_json(const PortRef& port) {
    return std::visit([](const auto& value) { return Json(value); }, port);
}

Json selector_json(const LabelSelector& selector) {
    Json json = Json::object();
    if (!selector.match_labels.empty()) {
        json["matchLabels"] = selector.match_labels;
    }
    for (const LabelRequirement& requirement : selector.match_expressions) {
        static constexpr const char* kNames[] = {"In", "NotIn", "Exists", "DoesNotExist"};
        Json item = {{"key", requirement.key}, {"operator", kNames[static_cast<int>(requirement.op)]}};
        if (!requirement.values.empty()) {
            item["values"] = requirement.values;
        }
        json["matchExpressions"].push_back(std::move(item));
    }
    return json;
}

Json texts(const std::vector<Ip>& ips) {
    Json json = Json::array();
    for (const Ip& ip : ips) {
        json.push_back(ip.to_string());
    }
    return json;
}

Json probe_json(const Probe& probe) {
    Json json = Json::object();
    switch (probe.kind) {
    case Probe::Kind::kTcp:
        json["tcpSocket"] = {{"port", port_json(probe.port)}};
        break;
    case Probe::Kind::kHttp:
        json["httpGet"] = {{"path", probe.path}, {"port", port_json(probe.port)}};
        break;
    case Probe::Kind::kExec:
        json["exec"] = {{"command", probe.command}};
        break;
    }
    json["initialDelaySeconds"] = probe.initial_delay_seconds;
    json["periodSeconds"] = probe.period_seconds;
    json["timeoutSeconds"] = probe.timeout_seconds;
    json["failureThreshold"] = probe.failure_threshold;
    return json;
}

Json container_json(const Container& container) {
    Json json = {{"name", container.name}};
    if (!container.image.empty()) {
        json["image"] = container.image;
    }
    if (!container.command.empty()) {
        json["command"] = container.command;
    }
    if (!container.args.empty()) {
        json["args"] = container.args;
    }
    for (const auto& [name, value] : container.env) {
        static constexpr std::string_view kField = "$(field:";
        if (value.starts_with(kField) && value.ends_with(")")) {
            const std::string path = value.substr(kField.size(), value.size() - kField.size() - 1);
            json["env"].push_back({{"name", name}, {"valueFrom", {{"fieldRef", {{"fieldPath", path}}}}}});
        } else {
            json["env"].push_back({{"name", name}, {"value", value}});
        }
    }
    for (const ContainerPort& port : container.ports) {
        Json item = {{"containerPort", port.port}, {"protocol", protocol_name(port.protocol)}};
        if (!port.name.empty()) {
            item["name"] = port.name;
        }
        json["ports"].push_back(std::move(item));
    }
    if (container.readiness) {
        json["readinessProbe"] = probe_json(*container.readiness);
    }
    return json;
}

Json pod_spec_json(const PodSpec& spec) {
    Json json = Json::object();
    if (!spec.node_name.empty()) {
        json["nodeName"] = spec.node_name;
    }
    json["serviceAccountName"] = spec.service_account;
    if (spec.host_network) {
        json["hostNetwork"] = true;
    }
    json["terminationGracePeriodSeconds"] = spec.termination_grace_seconds;
    if (!spec.hostname.empty()) {
        json["hostname"] = spec.hostname;
    }
    if (!spec.subdomain.empty()) {
        json["subdomain"] = spec.subdomain;
    }
    for (const Container& container : spec.containers) {
        json["containers"].push_back(container_json(container));
    }
    return json;
}

Json to_json(const Namespace& value) {
    return head("v1", "Namespace", value.meta, false);
}

Json to_json(const ServiceAccount& value) {
    return head("v1", "ServiceAccount", value.meta, true);
}

Json to_json(const Node& node) {
    Json json = head("v1", "Node", node.meta, false);
    Json spec = Json::object();
    for (const Cidr& cidr : node.pod_cidrs) {
        spec["podCIDRs"].push_back(cidr.to_string());
    }
    if (node.unschedulable) {
        spec["unschedulable"] = true;
    }
    json["spec"] = std::move(spec);
    Json addresses = Json::array();
    for (const Ip& ip : node.addresses) {
        addresses.push_back({{"type", "InternalIP"}, {"address", ip.to_string()}});
    }
    json["status"] = {{"addresses", std::move(addresses)}};
    return json;
}

Json to_json(const Pod& pod) {
    Json json = head("v1", "Pod", pod.meta, true);
    json["spec"] = pod_spec_json(pod.spec);
    Json status = Json::object();
    if (!pod.phase.empty()) {
        status["phase"] = pod.phase;
    }
    if (!pod.ips.empty()) {
        status["podIP"] = pod.ips.front().to_string();
        for (const Ip& ip : pod.ips) {
            status["podIPs"].push_back({{"ip", ip.to_string()}});
        }
    }
    status["conditions"].push_back({{"type", "Ready"}, {"status", pod.ready ? "True" : "False"}});
    json["status"] = std::move(status);
    return json;
}

Json to_json(const Deployment& deployment) {
    Json json = head("apps/v1", "Deployment", deployment.meta, true);
    Json metadata = Json::object();
    metadata["labels"] = deployment.template_meta.labels;
    if (!deployment.template_meta.annotations.empty()) {
        metadata["annotations"] = deployment.template_meta.annotations;
    }
    json["spec"] = {
        {"replicas", deployment.replicas},
        {"selector", selector_json(deployment.selector)},
        {"template", {{"metadata", std::move(metadata)}, {"spec", pod_spec_json(deployment.template_spec)}}}};
    return json;
}

Json service_port_json(const ServicePort& port) {
    Json json = Json::object();
    if (!port.name.empty()) {
        json["name"] = port.name;
    }
    json["protocol"] = protocol_name(port.protocol);
    json["port"] = port.port;
    json["targetPort"] = port_json(port.target_port);
    if (port.node_port != 0) {
        json["nodePort"] = port.node_port;
    }
    return json;
}

void add_cluster_ips(const Service& service, Json& spec) {
    if (service.headless) {
        spec["clusterIP"] = "None";
    } else if (!service.cluster_ips.empty()) {
        spec["clusterIP"] = service.cluster_ips.front().to_string();
        spec["clusterIPs"] = texts(service.cluster_ips);
    }
    if (service.wants_v4) {
        spec["ipFamilies"].push_back("IPv4");
    }
    if (service.wants_v6) {
        spec["ipFamilies"].push_back("IPv6");
    }
}

Json to_json(const Service& service) {
    static constexpr const char* kTypes[] = {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"};
    Json json = head("v1", "Service", service.meta, true);
    Json spec = {{"type", kTypes[static_cast<int>(service.type)]}};
    if (service.type == Service::Type::kExternalName) {
        spec["externalName"] = "external.invalid"; // the name itself decides nothing here, so it is not kept
    }
    add_cluster_ips(service, spec);
    if (!service.external_ips.empty()) {
        spec["externalIPs"] = texts(service.external_ips);
    }
    for (const ServicePort& port : service.ports) {
        spec["ports"].push_back(service_port_json(port));
    }
    if (!service.selector.empty()) {
        spec["selector"] = service.selector;
    }
    if (service.client_ip_affinity) {
        spec["sessionAffinity"] = "ClientIP";
        spec["sessionAffinityConfig"] = {{"clientIP", {{"timeoutSeconds", service.affinity_timeout_seconds}}}};
    }
    if (service.internal_traffic_local) {
        spec["internalTrafficPolicy"] = "Local";
    }
    if (service.distribution != Service::Distribution::kAny) {
        spec["trafficDistribution"] =
            service.distribution == Service::Distribution::kPreferSameNode ? "PreferSameNode" : "PreferSameZone";
    }
    if (service.publish_not_ready) {
        spec["publishNotReadyAddresses"] = true;
    }
    json["spec"] = std::move(spec);
    for (const Ip& ip : service.load_balancer_ips) {
        json["status"]["loadBalancer"]["ingress"].push_back({{"ip", ip.to_string()}});
    }
    return json;
}

Json endpoint_json(const SliceEndpoint& endpoint, const std::string& namespace_name) {
    Json json = {{"addresses", texts(endpoint.addresses)},
                 {"conditions",
                  {{"ready", endpoint.ready}, {"serving", endpoint.serving}, {"terminating", endpoint.terminating}}}};
    if (!endpoint.node_name.empty()) {
        json["nodeName"] = endpoint.node_name;
    }
    if (!endpoint.zone.empty()) {
        json["zone"] = endpoint.zone;
    }
    for (const std::string& zone : endpoint.hint_zones) {
        json["hints"]["forZones"].push_back({{"name", zone}});
    }
    for (const std::string& node : endpoint.hint_nodes) {
        json["hints"]["forNodes"].push_back({{"name", node}});
    }
    if (!endpoint.target_pod.empty()) {
        json["targetRef"] = {{"kind", "Pod"}, {"name", endpoint.target_pod}, {"namespace", namespace_name}};
    }
    return json;
}

Json to_json(const EndpointSlice& slice) {
    Json json = head("discovery.k8s.io/v1", "EndpointSlice", slice.meta, true);
    json["addressType"] = slice.v4 ? "IPv4" : "IPv6";
    json["endpoints"] = Json::array();
    for (const SliceEndpoint& endpoint : slice.endpoints) {
        json["endpoints"].push_back(endpoint_json(endpoint, slice.meta.namespace_name));
    }
    json["ports"] = Json::array();
    for (const SlicePort& port : slice.ports) {
        Json item = {{"name", port.name}, {"protocol", protocol_name(port.protocol)}};
        if (port.port != 0) {
            item["port"] = port.port;
        }
        json["ports"].push_back(std::move(item));
    }
    return json;
}

Json peer_json(const PolicyPeer& peer) {
    Json json = Json::object();
    if (peer.pod_selector) {
        json["podSelector"] = selector_json(*peer.pod_selector);
    }
    if (peer.namespace_selector) {
        json["namespaceSelector"] = selector_json(*peer.namespace_selector);
    }
    if (peer.ip_block) {
        json["ipBlock"]["cidr"] = peer.ip_block->cidr.to_string();
        for (const Cidr& except : peer.ip_block->except) {
            json["ipBlock"]["except"].push_back(except.to_string());
        }
    }
    return json;
}

Json rules_json(const std::vector<PolicyRule>& rules, const char* peers_name) {
    Json json = Json::array();
    for (const PolicyRule& rule : rules) {
        Json item = Json::object();
        for (const PolicyPeer& peer : rule.peers) {
            item[peers_name].push_back(peer_json(peer));
        }
        for (const PolicyPort& port : rule.ports) {
            Json port_item = {{"protocol", protocol_name(port.protocol)}};
            if (port.port) {
                port_item["port"] = port_json(*port.port);
            }
            if (port.end_port) {
                port_item["endPort"] = *port.end_port;
            }
            item["ports"].push_back(std::move(port_item));
        }
        json.push_back(std::move(item));
    }
    return json;
}

Json to_json(const NetworkPolicy& policy) {
    Json json = head("networking.k8s.io/v1", "NetworkPolicy", policy.meta, true);
    Json types = Json::array();
    if (policy.affects_ingress) {
        types.push_back("Ingress");
    }
    if (policy.affects_egress) {
        types.push_back("Egress");
    }
    json["spec"] = {{"podSelector", selector_json(policy.pod_selector)},
                    {"policyTypes", std::move(types)},
                    {"ingress", rules_json(policy.ingress, "from")},
                    {"egress", rules_json(policy.egress, "to")}};
    return json;
}

const char* mode_text(TlsMode mode) {
    return mode == TlsMode::kStrict ? "strict" : mode == TlsMode::kPermissive ? "permissive" : "off";
}

Json to_json(const MeshTls& tls) {
    Json json = head("weft.dev/v1alpha1", "MeshTLS", tls.meta, true);
    Json spec = Json::object();
    if (tls.selector) {
        spec["selector"] = selector_json(*tls.selector);
    }
    if (tls.mode) {
        spec["mode"] = mode_text(*tls.mode);
    }
    for (const auto& [port, mode] : tls.ports) {
        spec["ports"].push_back({{"port", port}, {"mode", mode_text(mode)}});
    }
    json["spec"] = std::move(spec);
    return json;
}

Json to_json(const MeshConfig& config) {
    Json json = head("weft.dev/v1alpha1", "MeshConfig", config.meta, false);
    json["spec"] = Json::object();
    if (config.mode) {
        json["spec"]["tls"]["mode"] = mode_text(*config.mode);
    }
    return json;
}

} // namespace

std::string to_yaml(const Object& object) {
    const Json json = std::visit([](const auto& value) { return to_json(value); }, object);
    // Bytes that are no UTF-8 are replaced: dump() would throw on them otherwise.
    return fmt::format("---\n{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

} // namespace weft::k8s
