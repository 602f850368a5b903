// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// GetFlows: first what the ring holds, then what comes.
#include "agent/admin/observer.hpp"

#include <algorithm>
#include <deque>
#include <limits>
#include <set>

#include "agent/telemetry/flow_filter.hpp"

namespace weft::admin {
namespace {

using telemetry::FlowPtr;

// Long enough to cost nothing, short enough that a client that went away is noticed.
constexpr auto kPatience = std::chrono::milliseconds(250);
constexpr std::size_t kBatch = 256;

bool before(const google::protobuf::Timestamp& a, const google::protobuf::Timestamp& b) {
    return std::pair(a.seconds(), a.nanos()) < std::pair(b.seconds(), b.nanos());
}

class Sender {
public:
    Sender(const std::string& node, const std::function<bool(const observer::GetFlowsResponse&)>& send)
        : node_(node), send_(send) {}

    bool flow(const FlowPtr& flow) const {
        observer::GetFlowsResponse response;
        *response.mutable_flow() = *flow;
        response.set_node_name(node_);
        *response.mutable_time() = flow->time();
        return send_(response);
    }
    bool lost(flow::LostEventSource source, std::uint64_t count) const {
        if (count == 0) {
            return true;
        }
        observer::GetFlowsResponse response;
        response.mutable_lost_events()->set_source(source);
        response.mutable_lost_events()->set_num_events_lost(count);
        response.set_node_name(node_);
        return send_(response);
    }

private:
    const std::string& node_;
    const std::function<bool(const observer::GetFlowsResponse&)>& send_;
};

} // namespace

Result<> stream_flows(const telemetry::FlowRing& ring, const observer::GetFlowsRequest& request,
                      const std::string& node_name, const std::function<bool(const observer::GetFlowsResponse&)>& send,
                      const std::function<bool()>& go_on) {
    if (request.first() && request.follow()) {
        return invalid("'first' and 'follow' exclude each other");
    }
    WEFT_ASSIGN(const auto filter, telemetry::FlowFilter::make(request.whitelist(), request.blacklist()));
    auto wanted = [&](const flow::Flow& flow) {
        return (!request.has_since() || !before(flow.time(), request.since())) &&
               (!request.has_until() || !before(request.until(), flow.time())) && filter.matches(flow);
    };

    const Sender sender(node_name, send);
    const auto start = ring.read(1, std::numeric_limits<std::size_t>::max());
    const auto limit = request.number() == 0 ? std::numeric_limits<std::uint64_t>::max() : request.number();
    const bool old_ones = request.number() > 0 || request.has_since() || !request.follow();
    std::deque<FlowPtr> chosen;
    if (old_ones) {
        for (const auto& flow : start.flows) {
            if (!wanted(*flow)) {
                continue;
            }
            chosen.push_back(flow);
            if (chosen.size() > limit) {
                if (request.first()) {
                    chosen.pop_back();
                    break;
                }
                chosen.pop_front();
            }
        }
    }
    for (const auto& flow : chosen) {
        if (!sender.flow(flow)) {
            return {};
        }
    }
    if (!request.follow()) {
        return {};
    }

    std::uint64_t next = start.next;
    std::uint64_t kernel_lost = start.kernel_lost;
    while (go_on()) {
        const auto batch = ring.wait(next, kBatch, kPatience);
        next = batch.next;
        bool alive =
            sender.lost(flow::HUBBLE_RING_BUFFER, batch.missed) &&
            sender.lost(flow::PERF_EVENT_RING_BUFFER, batch.kernel_lost - std::min(kernel_lost, batch.kernel_lost));
        kernel_lost = batch.kernel_lost;
        for (const auto& flow : batch.flows) {
            alive = alive && (!wanted(*flow) || sender.flow(flow));
        }
        if (!alive || (batch.closed && batch.flows.empty())) {
            break;
        }
    }
    return {};
}

observer::GetNamespacesResponse namespaces_of(const telemetry::FlowRing& ring) {
    std::set<std::string> names;
    for (const auto& flow : ring.read(1, std::numeric_limits<std::size_t>::max()).flows) {
        names.insert(flow->source().namespace_());
        names.insert(flow->destination().namespace_());
    }
    names.erase("");
    observer::GetNamespacesResponse out;
    for (const auto& name : names) {
        out.add_namespaces()->set_namespace_(name);
    }
    return out;
}

} // namespace weft::admin
