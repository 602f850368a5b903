// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/weft/ui/flow_ends.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/format.h>

#include "admin.pb.h"
#include "agent/telemetry/traffic_names.hpp"
#include "flow/flow.pb.h"

namespace weft::ui {
namespace {

using Workload = compiler::Names::Workload;

/// Labels as text, "key=value" with or without their source in front.
template <typename List>
k8s::Labels labels_of(const List& list) {
    constexpr std::string_view kSource = "k8s:";
    k8s::Labels labels;
    for (std::string_view label : list) {
        label.remove_prefix(label.starts_with(kSource) ? kSource.size() : 0);
        if (const auto equals = label.find('='); equals != std::string_view::npos) {
            labels.emplace(std::string(label.substr(0, equals)), std::string(label.substr(equals + 1)));
        }
    }
    return labels;
}

MapNode workload_node(const Workload& pod) {
    auto name = telemetry::workload_name(pod);
    return {.id = pod.namespace_name + "/" + name,
            .kind = "workload",
            .namespace_name = pod.namespace_name,
            .name = std::move(name)};
}

MapNode node_of(const flow::Endpoint& end) {
    if (!end.pod_name().empty() && !end.namespace_().empty()) {
        Workload pod;
        pod.namespace_name = end.namespace_();
        pod.pod_name = end.pod_name();
        pod.labels = labels_of(end.labels());
        return workload_node(pod);
    }
    if (!end.pod_name().empty()) { // a node has a name but no namespace
        return {.id = "@node/" + end.pod_name(), .kind = "node", .namespace_name = "", .name = end.pod_name()};
    }
    const auto has = [&](std::string_view label) {
        return std::ranges::find(end.labels(), label) != end.labels().end();
    };
    if (has("reserved:host")) {
        return {.id = "@host", .kind = "host", .namespace_name = "", .name = "this node"};
    }
    if (has("reserved:remote-node")) {
        return {.id = "@remote-node", .kind = "remote-node", .namespace_name = "", .name = "other nodes"};
    }
    return {.id = "@world", .kind = "world", .namespace_name = "", .name = "outside"};
}

} // namespace

MapNode source_of(const flow::Flow& flow) {
    return node_of(flow.source());
}

MapNode destination_of(const flow::Flow& flow) {
    const auto& service = flow.destination_service();
    if (flow.destination().pod_name().empty() && !service.name().empty()) {
        return {.id = fmt::format("@service/{}/{}", service.namespace_(), service.name()),
                .kind = "service",
                .namespace_name = service.namespace_(),
                .name = service.name()};
    }
    return node_of(flow.destination());
}

MapNode workload_of(const admin::Endpoint& endpoint) {
    Workload pod;
    pod.namespace_name = endpoint.namespace_();
    pod.pod_name = endpoint.pod();
    pod.labels = labels_of(endpoint.labels());
    return workload_node(pod);
}

MapNode other_node() {
    return {.id = "@other", .kind = "other", .namespace_name = "", .name = "all others"};
}

} // namespace weft::ui
