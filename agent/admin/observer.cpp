// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// GetFlows: first what the ring holds, then what comes.
#include "agent/admin/observer.hpp"

#include <algorithm>
#include <deque>
#include <limits>
#include <set>

#include <google/protobuf/util/field_mask_util.h>
#include <google/protobuf/util/time_util.h>

#include "agent/telemetry/flow_filter.hpp"

namespace weft::admin {
namespace {

using google::protobuf::util::FieldMaskUtil;
using google::protobuf::util::TimeUtil;
using telemetry::FlowPtr;
using telemetry::FlowRing;

// Long enough to cost nothing, short enough that a client that went away is noticed.
constexpr auto kPatience = std::chrono::milliseconds(250);
constexpr std::size_t kBatch = 256;
// The agent reads the kernel's ring ten times a second, so an event of before `until` may come this much later.
constexpr std::int64_t kLateMs = 1000;

std::uint64_t number_of(const FlowPtr& flow) {
    return flow->weft().sequence();
}

bool before(const google::protobuf::Timestamp& a, const google::protobuf::Timestamp& b) {
    return std::pair(a.seconds(), a.nanos()) < std::pair(b.seconds(), b.nanos());
}

class Sender {
public:
    Sender(const std::string& node, const observer::GetFlowsRequest& request,
           const std::function<bool(const observer::GetFlowsResponse&)>& send)
        : node_(node), send_(send) {
        const auto& mask = request.has_field_mask() ? request.field_mask() : request.experimental().field_mask();
        masked_ = mask.paths_size() > 0;
        for (const auto& path : mask.paths()) {
            if (FieldMaskUtil::IsValidPath<flow::Flow>(path)) { // a field that we never fill has nothing to show
                mask_.add_paths(path);
            }
        }
    }

    bool flow(const FlowPtr& flow) const {
        observer::GetFlowsResponse response;
        if (masked_) {
            FieldMaskUtil::MergeMessageTo(*flow, mask_, {}, response.mutable_flow());
        } else {
            *response.mutable_flow() = *flow;
        }
        response.set_node_name(node_);
        *response.mutable_time() = flow->time();
        return send_(response);
    }
    /// Overwritten in the ring before this client came to them.
    bool missed(std::uint64_t count) const {
        observer::GetFlowsResponse response;
        response.mutable_lost_events()->set_source(flow::HUBBLE_RING_BUFFER);
        return count == 0 || lost(std::move(response), count);
    }
    /// What the kernel lost up to this gap and this client was not told: what was told is `told`.
    bool gap(const FlowRing::Gap& gap, std::uint64_t& told) const {
        observer::GetFlowsResponse response;
        auto& event = *response.mutable_lost_events();
        event.set_source(flow::PERF_EVENT_RING_BUFFER);
        if (gap.until_ns != 0) {
            *event.mutable_first() = TimeUtil::NanosecondsToTimestamp(gap.since_ns);
            *event.mutable_last() = TimeUtil::NanosecondsToTimestamp(gap.until_ns);
            *response.mutable_time() = event.last();
        }
        const auto count = gap.total - std::min(told, gap.total);
        told = std::max(told, gap.total);
        return count == 0 || lost(std::move(response), count);
    }

private:
    bool lost(observer::GetFlowsResponse response, std::uint64_t count) const {
        response.mutable_lost_events()->set_num_events_lost(count);
        response.set_node_name(node_);
        return send_(response);
    }

    const std::string& node_;
    const std::function<bool(const observer::GetFlowsResponse&)>& send_;
    bool masked_ = false;
    google::protobuf::FieldMask mask_;
};

/// What a request asks for.
class Wish {
public:
    static Result<Wish> make(const observer::GetFlowsRequest& request) {
        if (request.first() && request.follow()) {
            return invalid("'first' and 'follow' exclude each other");
        }
        WEFT_ASSIGN(auto filter, telemetry::FlowFilter::make(request.whitelist(), request.blacklist()));
        return Wish(request, std::move(filter));
    }
    [[nodiscard]] bool wants(const flow::Flow& flow) const {
        return (!request_.has_since() || !before(flow.time(), request_.since())) &&
               (!request_.has_until() || !before(request_.until(), flow.time())) && filter_.matches(flow);
    }
    [[nodiscard]] bool wants(const FlowRing::Gap& gap) const {
        return (!request_.has_since() || gap.until_ns >= TimeUtil::TimestampToNanoseconds(request_.since())) &&
               (!request_.has_until() || gap.since_ns <= TimeUtil::TimestampToNanoseconds(request_.until()));
    }
    [[nodiscard]] bool old_ones() const { return request_.number() > 0 || request_.has_since() || !request_.follow(); }
    /// Nothing that comes from now on can be wanted.
    [[nodiscard]] bool over() const {
        return request_.has_until() &&
               before(request_.until() + TimeUtil::MillisecondsToDuration(kLateMs), TimeUtil::GetCurrentTime());
    }
    /// Of the flows that the ring holds: those of the request, and the gaps between and behind them.
    [[nodiscard]] FlowRing::Batch choose(FlowRing::Batch held) const {
        const auto limit = request_.number() == 0 ? std::numeric_limits<std::uint64_t>::max() : request_.number();
        std::deque<FlowPtr> chosen;
        std::uint64_t end = std::numeric_limits<std::uint64_t>::max();
        for (const auto& flow : held.flows) {
            if (!wants(*flow)) {
                continue;
            }
            if (chosen.size() == limit) {
                if (request_.first()) {
                    end = number_of(chosen.back());
                    break;
                }
                chosen.pop_front();
            }
            chosen.push_back(flow);
        }
        const auto begin = chosen.empty() ? 0 : number_of(chosen.front());
        held.flows.assign(chosen.begin(), chosen.end());
        std::erase_if(held.gaps,
                      [&](const auto& gap) { return gap.before <= begin || gap.before > end || !wants(gap); });
        return held;
    }

private:
    Wish(const observer::GetFlowsRequest& request, telemetry::FlowFilter filter)
        : request_(request), filter_(std::move(filter)) {}

    const observer::GetFlowsRequest& request_;
    telemetry::FlowFilter filter_;
};

} // namespace

Result<> stream_flows(const FlowRing& ring, const observer::GetFlowsRequest& request, const std::string& node_name,
                      const std::function<bool(const observer::GetFlowsResponse&)>& send,
                      const std::function<bool()>& go_on) {
    WEFT_ASSIGN(const auto wish, Wish::make(request));
    const Sender sender(node_name, request, send);
    const auto held = ring.read(1, std::numeric_limits<std::size_t>::max());
    if (wish.old_ones()) {
        const auto chosen = wish.choose(held);
        auto gap = chosen.gaps.begin();
        bool alive = true;
        const auto tell_gaps = [&](std::uint64_t up_to) {
            for (; gap != chosen.gaps.end() && gap->before <= up_to; ++gap) {
                auto told = gap->total - gap->count;
                alive = alive && sender.gap(*gap, told);
            }
        };
        for (const auto& flow : chosen.flows) {
            tell_gaps(number_of(flow));
            alive = alive && sender.flow(flow);
        }
        tell_gaps(std::numeric_limits<std::uint64_t>::max());
        if (!alive) {
            return {};
        }
    }
    if (!request.follow()) {
        return {};
    }

    std::uint64_t next = held.next;
    std::uint64_t told = held.kernel_lost;
    while (go_on() && !wish.over()) {
        const auto batch = ring.wait(next, kBatch, kPatience);
        next = batch.next;
        bool alive = sender.missed(batch.missed);
        // Gaps of which the ring has forgotten the place, as the flows around them are overwritten.
        const auto before_all =
            batch.gaps.empty() ? batch.kernel_lost : batch.gaps.front().total - batch.gaps.front().count;
        alive = alive && sender.gap({.total = before_all}, told);
        auto gap = batch.gaps.begin();
        for (const auto& flow : batch.flows) {
            for (; gap != batch.gaps.end() && gap->before <= number_of(flow); ++gap) {
                alive = alive && sender.gap(*gap, told);
            }
            alive = alive && (!wish.wants(*flow) || sender.flow(flow));
        }
        for (; gap != batch.gaps.end(); ++gap) {
            alive = alive && sender.gap(*gap, told);
        }
        if (!alive || (batch.closed && batch.flows.empty())) {
            break;
        }
    }
    return {};
}

double flows_a_second(const FlowRing& ring, std::chrono::nanoseconds age) {
    constexpr double kWindow = 60; // seconds
    const auto held = ring.read(1, std::numeric_limits<std::size_t>::max());
    const auto now_ns = TimeUtil::TimestampToNanoseconds(TimeUtil::GetCurrentTime());
    const auto age_of = [&](const FlowPtr& flow) {
        return static_cast<double>(now_ns - TimeUtil::TimestampToNanoseconds(flow->time())) / 1e9;
    };
    const auto recent = std::ranges::count_if(held.flows, [&](const FlowPtr& flow) { return age_of(flow) <= kWindow; });
    double span = std::min(kWindow, std::chrono::duration<double>(age).count());
    if (held.missed > 0 && !held.flows.empty()) {
        span = std::min(span, age_of(held.flows.front())); // older ones of that time are overwritten
    }
    return recent == 0 || span <= 0 ? 0 : static_cast<double>(recent) / span;
}

observer::GetNamespacesResponse namespaces_of(const FlowRing& ring) {
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
