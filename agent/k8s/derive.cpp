// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What Kubernetes' Deployment controller, scheduler and EndpointSlice controller would answer.
#include "agent/k8s/derive.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include <fmt/format.h>

namespace weft::k8s {
namespace {

constexpr std::size_t kMaxEndpointsPerSlice = 1000;

// The controller leaves out a pod that lacks the named port, for that port only.
std::optional<std::uint16_t> resolve(const ServicePort& port, const Pod& pod) {
    if (const auto* number = std::get_if<std::uint16_t>(&port.target_port)) {
        return *number;
    }
    const auto& name = std::get<std::string>(port.target_port);
    for (const Container& container : pod.spec.containers) {
        for (const ContainerPort& candidate : container.ports) {
            if (candidate.name == name && candidate.protocol == port.protocol) {
                return candidate.port;
            }
        }
    }
    return {};
}

using PortSet = std::vector<SlicePort>;

struct PortSetLess {
    bool operator()(const PortSet& a, const PortSet& b) const {
        return std::lexicographical_compare(
            a.begin(), a.end(), b.begin(), b.end(), [](const SlicePort& x, const SlicePort& y) {
                return std::tie(x.name, x.protocol, x.port) < std::tie(y.name, y.protocol, y.port);
            });
    }
};

PortSet port_set(const Service& service, const Pod& pod) {
    PortSet ports;
    for (const ServicePort& port : service.ports) {
        if (const auto number = resolve(port, pod)) {
            ports.push_back({port.name, port.protocol, *number});
        }
    }
    return ports;
}

SliceEndpoint endpoint_of(const Service& service, const Pod& pod, const Ip& ip,
                          const std::map<std::string, const Node*>& nodes) {
    SliceEndpoint endpoint;
    endpoint.addresses = {ip};
    endpoint.serving = pod.ready;
    endpoint.terminating = pod.meta.deleting;
    endpoint.ready = service.publish_not_ready || (pod.ready && !pod.meta.deleting);
    endpoint.node_name = pod.spec.node_name;
    if (const auto node = nodes.find(pod.spec.node_name); node != nodes.end()) {
        endpoint.zone = node->second->zone();
    }
    endpoint.target_pod = pod.meta.name;
    return endpoint;
}

bool selects(const Service& service, const Pod& pod) {
    const auto has = [&](const auto& wanted) {
        const auto found = pod.meta.labels.find(wanted.first);
        return found != pod.meta.labels.end() && found->second == wanted.second;
    };
    return pod.meta.namespace_name == service.meta.namespace_name && !pod.finished() && !pod.ips.empty() &&
           std::all_of(service.selector.begin(), service.selector.end(), has);
}

// Explicit families, else those of the cluster IPs, else every family that a pod has.
bool wants_family(const Service& service, bool v4) {
    if (service.wants_v4 || service.wants_v6) {
        return v4 ? service.wants_v4 : service.wants_v6;
    }
    return service.cluster_ips.empty() || std::any_of(service.cluster_ips.begin(), service.cluster_ips.end(),
                                                      [&](const Ip& ip) { return ip.is_v4() == v4; });
}

Meta slice_meta(const Service& service, std::string name) {
    Meta meta;
    meta.namespace_name = service.meta.namespace_name;
    meta.name = std::move(name);
    meta.labels = service.meta.labels;
    meta.labels["kubernetes.io/service-name"] = service.meta.name;
    meta.labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io";
    if (service.headless) {
        meta.labels["service.kubernetes.io/headless"] = "";
    }
    meta.origin = service.meta.origin;
    return meta;
}

void append_family(const Service& service, bool v4, const std::vector<const Pod*>& pods,
                   const std::map<std::string, const Node*>& nodes, std::vector<EndpointSlice>& slices) {
    std::map<PortSet, std::vector<SliceEndpoint>, PortSetLess> groups;
    for (const Pod* pod : pods) {
        const auto ip = std::find_if(pod->ips.begin(), pod->ips.end(),
                                     [&](const Ip& candidate) { return candidate.is_v4() == v4; });
        if (ip == pod->ips.end()) {
            continue;
        }
        PortSet ports = port_set(service, *pod);
        if (ports.empty() && !service.ports.empty()) {
            continue; // none of the Service's ports exists on this pod
        }
        groups[std::move(ports)].push_back(endpoint_of(service, *pod, *ip, nodes));
    }
    std::size_t number = 0;
    for (auto& [ports, endpoints] : groups) {
        for (std::size_t begin = 0; begin < endpoints.size(); begin += kMaxEndpointsPerSlice) {
            const std::size_t end = std::min(begin + kMaxEndpointsPerSlice, endpoints.size());
            EndpointSlice slice;
            slice.meta =
                slice_meta(service, fmt::format("{}-{}-{}", service.meta.name, v4 ? "ipv4" : "ipv6", number++));
            slice.service = service.meta.name;
            slice.v4 = v4;
            slice.ports = ports;
            slice.endpoints.assign(std::make_move_iterator(endpoints.begin() + static_cast<std::ptrdiff_t>(begin)),
                                   std::make_move_iterator(endpoints.begin() + static_cast<std::ptrdiff_t>(end)));
            slices.push_back(std::move(slice));
        }
    }
}

} // namespace

std::vector<Pod> expand_deployment(const Deployment& deployment) {
    std::vector<Pod> pods;
    for (int index = 0; index < deployment.replicas; ++index) {
        Pod pod;
        pod.meta = deployment.template_meta;
        pod.meta.namespace_name = deployment.meta.namespace_name;
        pod.meta.name = fmt::format("{}-{}", deployment.meta.name, index);
        pod.meta.uid.clear();
        pod.meta.deleting = false;
        pod.meta.origin = deployment.meta.origin;
        pod.spec = deployment.template_spec;
        pods.push_back(std::move(pod));
    }
    return pods;
}

void schedule(std::vector<Pod>& pods, const std::vector<Node>& nodes) {
    std::map<std::string, std::size_t> load; // in order of names, so a tie goes to the first
    for (const Node& node : nodes) {
        if (!node.unschedulable && !node.meta.deleting) {
            load.emplace(node.meta.name, 0);
        }
    }
    for (const Pod& pod : pods) {
        if (const auto found = load.find(pod.spec.node_name); found != load.end() && !pod.finished()) {
            ++found->second;
        }
    }
    for (Pod& pod : pods) {
        if (!pod.spec.node_name.empty() || load.empty()) {
            continue;
        }
        const auto least = std::min_element(load.begin(), load.end(),
                                            [](const auto& a, const auto& b) { return a.second < b.second; });
        pod.spec.node_name = least->first;
        if (!pod.finished()) {
            ++least->second;
        }
    }
}

std::vector<EndpointSlice> derive_slices(const Service& service, const std::vector<Pod>& pods,
                                         const std::vector<Node>& nodes) {
    std::vector<EndpointSlice> slices;
    if (service.selector.empty() || service.type == Service::Type::kExternalName) {
        return slices;
    }
    std::vector<const Pod*> selected;
    for (const Pod& pod : pods) {
        if (selects(service, pod)) {
            selected.push_back(&pod);
        }
    }
    std::sort(selected.begin(), selected.end(), [](const Pod* a, const Pod* b) { return a->meta.name < b->meta.name; });
    std::map<std::string, const Node*> nodes_by_name;
    for (const Node& node : nodes) {
        nodes_by_name.emplace(node.meta.name, &node);
    }
    for (const bool v4 : {true, false}) {
        if (wants_family(service, v4)) {
            append_family(service, v4, selected, nodes_by_name, slices);
        }
    }
    return slices;
}

} // namespace weft::k8s
