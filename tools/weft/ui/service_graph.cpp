// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Counting. What is shown of it is in graph_json.cpp.
#include "tools/weft/ui/service_graph.hpp"

#include <fmt/format.h>

#include "tools/weft/flow_line.hpp"

namespace weft::ui {
namespace {

using Detail = weft::observe::FlowDetail;

constexpr const char* kMutualTls = "mutual_tls";
constexpr const char* kOthers = "others";
/// Of what was opened later, a flow tells. Sockets of agents in pods, which carry mutual TLS, have no age at all.
constexpr double kOldSeconds = 10;

double seconds_of(const google::protobuf::Timestamp& time) {
    return static_cast<double>(time.seconds()) + static_cast<double>(time.nanos()) / 1e9;
}

/// "policy-denied, ingress isolated by shop/redis-only-from-api".
std::string denial_text(const flow::Flow& flow) {
    const bool egress = flow.traffic_direction() == flow::EGRESS;
    std::string text = flow.weft().reason().empty() ? "refused" : flow.weft().reason();
    std::string policies;
    for (const auto& policy : egress ? flow.egress_denied_by() : flow.ingress_denied_by()) {
        policies += fmt::format("{}{}/{}", policies.empty() ? "" : ", ", policy.namespace_(), policy.name());
    }
    if (!flow.weft().rule().empty()) {
        text += ", " + flow.weft().rule();
    } else if (!policies.empty()) {
        text += fmt::format(", {} isolated by {}", egress ? "egress" : "ingress", policies);
    }
    return text;
}

std::uint64_t grown(std::uint64_t now, std::uint64_t before) {
    return now > before ? now - before : 0;
}

} // namespace

ServiceGraph::Edge& ServiceGraph::edge_between(const MapNode& from, const MapNode& to) {
    const auto id = from.id + ">" + to.id;
    if (const auto found = edges_.find(id); found != edges_.end()) {
        return found->second;
    }
    if (edges_.size() < limits_.edges) {
        auto& edge = edges_[id];
        edge.from = from;
        edge.to = to;
        return edge;
    }
    ++folded_;
    const auto other = other_node();
    auto& edge = edges_[other.id + ">" + other.id];
    edge.from = edge.to = other;
    return edge;
}

void ServiceGraph::count_name(Counts& counts, const std::string& name) const {
    if (name.empty()) {
        return;
    }
    const bool fits = counts.contains(name) || counts.size() < limits_.names_per_edge;
    ++counts[fits ? name : kOthers];
}

void ServiceGraph::count(Edge& edge, Side side, const Sums& sums, double at, double now) const {
    edge.windows[side].add(sums, static_cast<std::int64_t>(at), static_cast<std::int64_t>(now));
    edge.totals[side] += sums;
    edge.last = std::max(edge.last, std::min(at, now));
    edge.first = edge.first == 0 ? std::min(at, now) : std::min(edge.first, at);
}

void ServiceGraph::add(std::size_t agent, const flow::Flow& flow, double now) {
    const std::lock_guard lock(mutex_);
    const auto& detail = flow.weft();
    const auto side = flow.traffic_direction() == flow::EGRESS ? kSource : kDestination;
    auto& edge = edge_between(source_of(flow), destination_of(flow));
    const bool denied = flow.verdict() == flow::DROPPED;
    Sums sums;
    if (denied) {
        sums.denied = 1;
        count_name(edge.denials, denial_text(flow));
    } else if (detail.kind() == Detail::CLOSE) {
        closed(agent, flow, side, sums);
    } else {
        sums.opened = 1;
        sums.mutual_tls = detail.connection_security_policy() == kMutualTls ? 1 : 0;
        count_name(edge.rules, detail.rule());
        opened(agent, flow, edge, side);
    }
    if (side == kSource && detail.kind() != Detail::CLOSE) {
        count_name(edge.services, detail.service());
    }
    if (!detail.source_principal().empty()) {
        edge.source_principal = detail.source_principal();
    }
    if (!detail.destination_principal().empty()) {
        edge.destination_principal = detail.destination_principal();
    }
    const auto at = seconds_of(flow.time());
    count(edge, side, sums, at, now);
    edge.recent.push_front({.time_ms = static_cast<std::int64_t>(at * 1e3),
                            .node = flow.node_name(),
                            .denied = denied,
                            .cells = cli::flow_cells(flow)});
    if (edge.recent.size() > limits_.flows_per_edge) {
        edge.recent.pop_back();
    }
}

void ServiceGraph::opened(std::size_t agent, const flow::Flow& flow, Edge& edge, Side side) {
    // Only TCP is in the list of connections with its bytes.
    if (flow.socket_cookie() == 0 || !flow.l4().has_tcp() || live_.size() >= limits_.connections) {
        return;
    }
    const auto [live, fresh] = live_.try_emplace({agent, flow.socket_cookie()});
    if (fresh) {
        live->second = {.edge = &edge, .side = side, .sent = 0, .received = 0, .listing = listings_[agent] + 1};
        ++edge.open[side];
    }
}

void ServiceGraph::closed(std::size_t agent, const flow::Flow& flow, Side side, Sums& sums) {
    const auto& detail = flow.weft();
    sums.closed = 1;
    sums.sent = side == kSource ? detail.bytes_sent() : detail.bytes_received();
    sums.received = side == kSource ? detail.bytes_received() : detail.bytes_sent();
    if (detail.srtt_us() > 0) {
        sums.rtt_count = 1;
        sums.rtt_us = detail.srtt_us();
    }
    if (const auto live = live_.find({agent, flow.socket_cookie()}); live != live_.end()) {
        sums.sent = grown(sums.sent, live->second.sent);
        sums.received = grown(sums.received, live->second.received);
        drop(live);
    }
}

void ServiceGraph::drop(std::map<LiveKey, Live>::iterator live) {
    --live->second.edge->open[live->second.side];
    live_.erase(live);
}

std::uint64_t ServiceGraph::begin_listing(std::size_t agent) {
    const std::lock_guard lock(mutex_);
    return ++listings_[agent];
}

/// Of a connection that was open before this map was; null when it is not known who its pods are.
ServiceGraph::Edge* ServiceGraph::edge_of(const admin::Connection& connection) {
    const auto node_of = [&](const std::string& pod) -> const MapNode* {
        for (const auto& [agent, pods] : pods_) {
            if (const auto found = pods.find(pod); found != pods.end()) {
                return &found->second;
            }
        }
        return nullptr;
    };
    const auto* own = node_of(connection.workload());
    const auto* peer = node_of(connection.peer());
    if (own == nullptr || peer == nullptr) {
        return nullptr;
    }
    return connection.role() == "client" ? &edge_between(*own, *peer) : &edge_between(*peer, *own);
}

void ServiceGraph::connections(std::size_t agent, std::uint64_t listing, const std::vector<admin::Connection>& list,
                               double now) {
    const std::lock_guard lock(mutex_);
    for (const auto& connection : list) {
        const bool client = connection.role() == "client";
        if (connection.protocol() != "TCP" || connection.cookie() == 0 || (!client && connection.role() != "server")) {
            continue;
        }
        const auto side = client ? kSource : kDestination;
        const auto sent = client ? connection.bytes_sent() : connection.bytes_received();
        const auto received = client ? connection.bytes_received() : connection.bytes_sent();
        auto live = live_.find({agent, connection.cookie()});
        if (live == live_.end()) {
            const bool follow = live_.size() < limits_.connections && connection.state() == "ESTAB" &&
                                connection.age_seconds() >= kOldSeconds;
            auto* edge = follow ? edge_of(connection) : nullptr;
            if (edge == nullptr) {
                continue;
            }
            // When its bytes came is not known, so none count; that it is there does.
            live = live_.try_emplace({agent, connection.cookie()}).first;
            live->second = {.edge = edge, .side = side, .sent = sent, .received = received, .listing = listing};
            ++edge->open[side];
            ++edge->totals[side].opened;
            edge->totals[side].mutual_tls += connection.security() == kMutualTls ? 1U : 0U;
            edge->last = now;
            edge->first = edge->first == 0 ? now : edge->first;
            count_name(edge->services, side == kSource ? connection.service() : "");
            count_name(edge->rules, connection.rule());
            continue;
        }
        Sums sums;
        sums.sent = grown(sent, live->second.sent);
        sums.received = grown(received, live->second.received);
        live->second.sent = std::max(live->second.sent, sent);
        live->second.received = std::max(live->second.received, received);
        live->second.listing = std::max(live->second.listing, listing);
        if (sums.sent + sums.received > 0) {
            count(*live->second.edge, live->second.side, sums, now, now);
        }
    }
    // What is in neither of two lists has ended, and its last flow was lost; after one it may be on its way.
    for (auto live = live_.lower_bound({agent, 0}); live != live_.end() && live->first.first == agent;) {
        const auto next = std::next(live);
        if (live->second.listing + 1 < listing) {
            drop(live);
        }
        live = next;
    }
}

void ServiceGraph::endpoints(std::size_t agent, const admin::ListEndpointsResponse& list) {
    std::map<std::string, MapNode> pods;
    for (const auto& endpoint : list.endpoints()) {
        pods.emplace(endpoint.namespace_() + "/" + endpoint.pod(), workload_of(endpoint));
    }
    const std::lock_guard lock(mutex_);
    pods_[agent] = std::move(pods);
}

void ServiceGraph::forget_connections(std::size_t agent) {
    const std::lock_guard lock(mutex_);
    for (auto live = live_.lower_bound({agent, 0}); live != live_.end() && live->first.first == agent;) {
        const auto next = std::next(live);
        drop(live);
        live = next;
    }
}

void ServiceGraph::expire(double now) {
    std::erase_if(edges_, [&](const auto& item) {
        const auto& edge = item.second;
        return edge.open[kSource] + edge.open[kDestination] == 0 && edge.last + limits_.keep_seconds < now;
    });
}

} // namespace weft::ui
