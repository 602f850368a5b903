// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the page gets to see of the map. Both ends of a connection may report it: what both count is counted once.
#include <algorithm>

#include "tools/weft/ui/service_graph.hpp"

namespace weft::ui {
namespace {

using nlohmann::json;

/// One view of what two agents saw. A denial is seen by one of them only: who denies, ends it.
Sums seen(const Sums& source, const Sums& destination) {
    Sums out = source.opened >= destination.opened ? source : destination; // opened and mutual_tls belong together
    out.closed = std::max(source.closed, destination.closed);
    out.sent = std::max(source.sent, destination.sent);
    out.received = std::max(source.received, destination.received);
    const auto& rtt = source.rtt_count > 0 ? source : destination;
    out.rtt_count = rtt.rtt_count;
    out.rtt_us = rtt.rtt_us;
    out.denied = source.denied + destination.denied;
    return out;
}

const char* security_of(const Sums& sums) {
    return sums.opened == 0                 ? "unknown"
           : sums.mutual_tls == 0           ? "none"
           : sums.mutual_tls >= sums.opened ? "mutual_tls"
                                            : "mixed";
}

json counts_of(const std::map<std::string, std::uint64_t>& counts) {
    std::vector<std::pair<std::string, std::uint64_t>> sorted(counts.begin(), counts.end());
    std::ranges::stable_sort(sorted, std::ranges::greater(), &std::pair<std::string, std::uint64_t>::second);
    auto out = json::array();
    for (const auto& [name, count] : sorted) {
        out.push_back({{"name", name}, {"count", count}});
    }
    return out;
}

} // namespace

json ServiceGraph::numbers(const std::string& id, const Edge& edge, double now) const {
    const auto at = static_cast<std::int64_t>(now);
    const auto window = seen(edge.windows[kSource].total(at), edge.windows[kDestination].total(at));
    const auto all = seen(edge.totals[kSource], edge.totals[kDestination]);
    // An edge that is younger than the window has the rate of its own life; the first moments would tell any rate.
    const auto seconds =
        std::clamp(now - edge.first, static_cast<double>(EdgeWindow::kBucketSeconds), EdgeWindow::covered(now));
    const auto a_second = [&](std::uint64_t sum) { return static_cast<double>(sum) / seconds; };
    const auto& rtt = window.rtt_count > 0 ? window : all;
    return {{"id", id},
            {"from", edge.from.id},
            {"to", edge.to.id},
            {"opened_per_second", a_second(window.opened)},
            {"denied_per_second", a_second(window.denied)},
            {"sent_per_second", a_second(window.sent)},
            {"received_per_second", a_second(window.received)},
            {"open", std::max(edge.open[kSource], edge.open[kDestination])},
            {"opened", all.opened},
            {"denied", all.denied},
            {"denied_now", window.denied},
            {"rtt_us", rtt.rtt_count > 0 ? json(rtt.rtt_us / rtt.rtt_count) : json()},
            {"security", security_of(window.opened > 0 ? window : all)},
            {"last_ms", static_cast<std::int64_t>(edge.last * 1e3)}};
}

json ServiceGraph::graph(double now) {
    const std::lock_guard lock(mutex_);
    expire(now);
    std::map<std::string, std::pair<MapNode, std::size_t>> nodes; // with how many pods are known
    for (const auto& [agent, pods] : pods_) {
        for (const auto& [pod, node] : pods) {
            auto& entry = nodes.try_emplace(node.id, node, 0).first->second;
            ++entry.second;
        }
    }
    auto edges = json::array();
    for (const auto& [id, edge] : edges_) {
        nodes.try_emplace(edge.from.id, edge.from, 0);
        nodes.try_emplace(edge.to.id, edge.to, 0);
        edges.push_back(numbers(id, edge, now));
    }
    auto list = json::array();
    for (const auto& [id, entry] : nodes) {
        const auto& [node, pods] = entry;
        list.push_back(
            {{"id", id}, {"kind", node.kind}, {"namespace", node.namespace_name}, {"name", node.name}, {"pods", pods}});
    }
    return {{"time_ms", static_cast<std::int64_t>(now * 1e3)},
            {"window_seconds", EdgeWindow::kSeconds},
            {"nodes", std::move(list)},
            {"edges", std::move(edges)},
            {"folded", folded_}};
}

std::optional<json> ServiceGraph::edge(const std::string& id, double now) {
    const std::lock_guard lock(mutex_);
    const auto found = edges_.find(id);
    if (found == edges_.end()) {
        return std::nullopt;
    }
    const auto& edge = found->second;
    auto out = numbers(id, edge, now);
    out["rules"] = counts_of(edge.rules);
    out["denials"] = counts_of(edge.denials);
    out["services"] = counts_of(edge.services);
    out["source_principal"] = edge.source_principal;
    out["destination_principal"] = edge.destination_principal;
    const auto at = static_cast<std::int64_t>(now);
    const auto source = edge.windows[kSource].history(at);
    const auto destination = edge.windows[kDestination].history(at);
    auto history = json::array();
    for (std::size_t i = 0; i < source.size(); ++i) {
        const auto sums = seen(source[i], destination[i]);
        history.push_back({{"opened", sums.opened}, {"denied", sums.denied}, {"bytes", sums.sent + sums.received}});
    }
    out["history"] = std::move(history);
    auto flows = json::array();
    for (const auto& recent : edge.recent) {
        flows.push_back({{"time_ms", recent.time_ms},
                         {"node", recent.node},
                         {"denied", recent.denied},
                         {"source", recent.cells.at(1)},
                         {"destination", recent.cells.at(2)},
                         {"protocol", recent.cells.at(3)},
                         {"outcome", recent.cells.at(4)},
                         {"detail", recent.cells.at(5)}});
    }
    out["flows"] = std::move(flows);
    return out;
}

} // namespace weft::ui
