// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who talks to whom, how much, how securely, and who is refused by which rule? Sums flows and open connections of any
// number of agents into nodes and edges. Memory is bounded: edges that are quiet for long go, and what there is no room
// for is summed in one edge between two nodes "all others". Pure: flows and the time are given.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include <nlohmann/json.hpp>

#include "admin.pb.h"
#include "flow/flow.pb.h"
#include "tools/weft/ui/edge_window.hpp"
#include "tools/weft/ui/flow_ends.hpp"

namespace weft::ui {

/// How much a map may hold.
struct GraphLimits {
    std::size_t edges = 5000; ///< without the one of all others
    std::size_t connections = 200'000; ///< open ones that are followed; bytes of others count when they end
    std::size_t flows_per_edge = 20; ///< newest, for the details of an edge
    std::size_t names_per_edge = 16; ///< rules, denials, Services of an edge; more are one, "others"
    double keep_seconds = 300; ///< an edge without open connections stays so long after its last flow
};

/// Thread: any; each call is whole. Times are seconds since 1970.
class ServiceGraph {
public:
    explicit ServiceGraph(GraphLimits limits = {}) : limits_(limits) {}

    /// Adds one flow that the agent number `agent` reported.
    void add(std::size_t agent, const flow::Flow& flow, double now);
    /// A number to give to connections(): flows added from now on are newer than the list that is asked for next.
    std::uint64_t begin_listing(std::size_t agent);
    /// The open connections of an agent's node: bytes that came since the last list are counted.
    void connections(std::size_t agent, std::uint64_t listing, const std::vector<admin::Connection>& list, double now);
    /// The workloads of an agent's node: names of pods, and nodes of the map without traffic.
    void endpoints(std::size_t agent, const admin::ListEndpointsResponse& list);
    /// The agent is gone: its connections are not known to be open any more.
    void forget_connections(std::size_t agent);

    /// Nodes and edges as JSON; docs/ui.md names the fields. Forgets edges that are quiet for too long.
    nlohmann::json graph(double now);
    /// One edge with its rules, Services, history and newest flows; nothing when there is no such edge.
    std::optional<nlohmann::json> edge(const std::string& id, double now);

private:
    enum Side : std::uint8_t { kSource, kDestination }; ///< whose agent reports
    using Counts = std::map<std::string, std::uint64_t>;
    struct Recent {
        std::int64_t time_ms = 0;
        std::string node;
        bool denied = false;
        std::vector<std::string> cells; ///< as `weft flows` prints them
    };
    struct Edge {
        MapNode from, to;
        std::array<EdgeWindow, 2> windows;
        std::array<Sums, 2> totals;
        std::array<std::uint64_t, 2> open{};
        Counts rules, denials, services;
        std::string source_principal, destination_principal;
        std::deque<Recent> recent; ///< newest first
        double first = 0, last = 0; ///< time of the first and the newest event
    };
    struct Live {
        Edge* edge = nullptr; ///< which is kept while it has open connections
        Side side = kSource;
        std::uint64_t sent = 0, received = 0; ///< counted so far
        std::uint64_t listing = 0; ///< of the last list that it is in, or before which it was opened
    };
    using LiveKey = std::pair<std::size_t, std::uint64_t>; ///< agent, socket cookie

    Edge& edge_between(const MapNode& from, const MapNode& to);
    void count_name(Counts& counts, const std::string& name) const;
    void count(Edge& edge, Side side, const Sums& sums, double at, double now) const;
    void opened(std::size_t agent, const flow::Flow& flow, Edge& edge, Side side);
    void closed(std::size_t agent, const flow::Flow& flow, Side side, Sums& sums);
    void drop(std::map<LiveKey, Live>::iterator live);
    void expire(double now);
    [[nodiscard]] Edge* edge_of(const admin::Connection& connection);
    [[nodiscard]] nlohmann::json numbers(const std::string& id, const Edge& edge, double now) const;

    std::mutex mutex_; ///< guards what follows: agents' threads add, the listener's threads read
    GraphLimits limits_;
    std::map<std::string, Edge> edges_; ///< by id, "FROM>TO"
    std::map<LiveKey, Live> live_;
    std::map<std::size_t, std::map<std::string, MapNode>> pods_; ///< by agent and "NAMESPACE/POD"
    std::map<std::size_t, std::uint64_t> listings_; ///< how many lists were asked for, by agent
    std::uint64_t folded_ = 0; ///< flows that went to the edge of all others
};

} // namespace weft::ui
