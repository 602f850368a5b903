// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The lab's state as JSON; keys as Kubernetes would call them.
#include "tools/lab/report.hpp"

#include "agent/k8s/derive.hpp"
#include "tools/lab/cgroup.hpp"
#include "tools/lab/netns.hpp"

namespace weft::lab {
namespace {

template <typename List>
Json texts(const List& list) {
    Json out = Json::array();
    for (const auto& item : list) {
        out.push_back(item.to_string());
    }
    return out;
}

Json node_json(const Names& names, const WireNode& wire, const k8s::Node& node) {
    return Json{{"name", wire.name},
                {"zone", node.zone()},
                {"addresses", texts(node.addresses)},
                {"podCIDRs", texts(wire.pod_cidrs)},
                {"unschedulable", node.unschedulable},
                {"netns", netns_path(names.node_netns(wire.name))},
                {"cgroup", cgroup_path(names.host_cgroup(wire.name)).value_or("")},
                {"runDir", names.agent_run_dir(wire.name)},
                {"log", names.agent_log(wire.name)}};
}

Json pod_json(const Names& names, const PodRunner& runner) {
    const auto pod = runner.published();
    Json ports = Json::array();
    for (const auto& container : pod.spec.containers) {
        for (const auto& port : container.ports) {
            ports.push_back(Json{{"name", port.name}, {"port", port.port}, {"protocol", protocol_name(port.protocol)}});
        }
    }
    return Json{{"namespace", pod.meta.namespace_name},
                {"name", pod.meta.name},
                {"node", pod.spec.node_name},
                {"phase", runner.stopping() ? "Terminating" : pod.phase},
                {"ready", runner.ready()},
                {"restarts", runner.restarts()},
                {"ips", texts(pod.ips)},
                {"message", runner.message()},
                {"external", runner.external()},
                {"hostNetwork", pod.spec.host_network},
                {"ports", ports},
                {"netns", runner.netns()},
                {"cgroup", runner.cgroup()},
                {"log", names.pod_log(pod.meta.namespace_name, pod.meta.name)}};
}

Json service_json(const k8s::Service& service, const std::vector<k8s::Pod>& pods, const std::vector<k8s::Node>& nodes) {
    Json ports = Json::array();
    for (const auto& port : service.ports) {
        ports.push_back(Json{{"name", port.name},
                             {"port", port.port},
                             {"protocol", protocol_name(port.protocol)},
                             {"nodePort", port.node_port}});
    }
    Json slices = Json::array();
    for (const auto& slice : k8s::derive_slices(service, pods, nodes)) {
        Json targets = Json::array();
        for (const auto& port : slice.ports) {
            targets.push_back(
                Json{{"name", port.name}, {"port", port.port}, {"protocol", protocol_name(port.protocol)}});
        }
        Json backends = Json::array();
        for (const auto& endpoint : slice.endpoints) {
            backends.push_back(
                Json{{"pod", endpoint.target_pod}, {"ready", endpoint.ready}, {"ips", texts(endpoint.addresses)}});
        }
        slices.push_back(Json{{"ports", targets}, {"backends", backends}});
    }
    return Json{{"namespace", service.meta.namespace_name},
                {"name", service.meta.name},
                {"headless", service.headless},
                {"clusterIPs", texts(service.cluster_ips)},
                {"ports", ports},
                {"loadBalancerIPs", texts(service.load_balancer_ips)},
                {"externalIPs", texts(service.external_ips)},
                {"slices", slices}};
}

} // namespace

Json report(const Names& names, const Controller& controller, bool mesh) {
    const auto& cluster = controller.cluster();
    Json nodes = Json::array();
    for (const auto& wire : cluster.wire_nodes()) {
        nodes.push_back(node_json(names, wire, *cluster.nodes().at({"", wire.name})));
    }
    Json pods = Json::array();
    std::vector<k8s::Pod> published;
    for (const auto& [name, runner] : controller.pods()) {
        pods.push_back(pod_json(names, *runner));
        if (!runner->external()) {
            published.push_back(runner->published());
        }
    }
    for (const auto& [name, why] : controller.unplaced()) {
        pods.push_back(Json{{"namespace", name.first},
                            {"name", name.second},
                            {"node", ""},
                            {"phase", "Pending"},
                            {"ready", false},
                            {"restarts", 0},
                            {"ips", Json::array()},
                            {"message", why},
                            {"external", false},
                            {"hostNetwork", false},
                            {"ports", Json::array()},
                            {"netns", ""},
                            {"cgroup", ""},
                            {"log", ""}});
    }
    Json services = Json::array();
    const auto node_list = cluster.node_list();
    for (const auto& [name, service] : cluster.services()) {
        services.push_back(service_json(*service, published, node_list));
    }
    // A pod of the manifests that has not been started yet counts too, or `up` could call the lab ready too early.
    return Json{{"lab", names.lab()}, {"mesh", mesh}, {"wanted", cluster.wanted_pods().size()},
                {"nodes", nodes},     {"pods", pods}, {"services", services}};
}

std::string refusal_text(const store::Refusal& refusal) {
    std::string text = refusal.origin.file;
    if (refusal.origin.line > 0) {
        text += ":" + std::to_string(refusal.origin.line);
    }
    if (!refusal.key.kind.empty()) {
        text += ": " + refusal.key.to_string();
    }
    if (!refusal.field.empty()) {
        text += ": " + refusal.field;
    }
    return text + ": " + refusal.message;
}

} // namespace weft::lab
