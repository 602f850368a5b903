// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft conn trace`: the steps of a pod's next connections as they become known.
#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "agent/admin/answers.hpp"
#include "agent/admin/decode.hpp"
#include "agent/telemetry/enrich.hpp"
#include "agent/telemetry/trace.hpp"
#include "weft/base/content_hash.hpp"

namespace weft::admin {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kMostConnections = 1000;
constexpr std::chrono::seconds kUsualLimit{60};
constexpr std::chrono::seconds kLongestLimit{3600};
/// How soon a client that went away is noticed.
constexpr std::chrono::milliseconds kPatience{250};

Result<std::uint64_t> netns_of(const compiler::DesiredState& desired, const TraceConnectionsRequest& request) {
    if (desired.policy != nullptr) {
        const auto workload = workload_id(request.namespace_(), request.pod());
        for (const auto& [cookie, endpoint] : desired.policy->endpoints) {
            if (endpoint.workload == workload) {
                return cookie;
            }
        }
    }
    return failure(ENOENT, "pod {}/{} is not on this node; `weft endpoint list` shows those that are",
                   request.namespace_(), request.pod());
}

std::string bare(const weft_addr_port& at) {
    const auto text = to_string(at);
    return text.substr(text.find(' ') + 1);
}

class Teller {
public:
    Teller(const AgentView& view, const std::function<bool(const TraceStep&)>& send) : view_(view), send_(send) {}

    [[nodiscard]] bool word(const std::string& detail) const {
        TraceStep out;
        out.set_detail(detail);
        return send_(out);
    }
    [[nodiscard]] bool step(const telemetry::TraceStep& step) {
        const auto& what = step.what;
        if (what.local.port != 0 || what.remote.port != 0) {
            ends_[step.connection] = {what.client ? "client" : "server", bare(what.local), bare(what.remote),
                                      what.remote.addr};
        }
        const auto& ends = ends_[step.connection]; // the kernel's first bytes come without
        TraceStep out;
        out.set_connection(step.connection);
        out.set_role(ends.role);
        out.set_local(ends.local);
        out.set_remote(ends.remote);
        const auto desired = view_.desired();
        out.set_peer(Namer(*desired).pod_of(ends.peer));
        out.set_step(what.step);
        const auto at = what.at_ns + telemetry::wall_clock_offset_ns();
        out.mutable_time()->set_seconds(at / 1'000'000'000);
        out.mutable_time()->set_nanos(static_cast<std::int32_t>(at % 1'000'000'000));
        out.set_since_begin_seconds(static_cast<double>(step.since_begin_ns) / 1e9);
        out.set_by(what.by);
        out.set_detail(what.detail);
        out.set_last(step.last);
        return send_(out);
    }

private:
    struct Ends {
        std::string role, local, remote;
        weft_addr peer{};
    };
    const AgentView& view_;
    const std::function<bool(const TraceStep&)>& send_;
    std::map<std::uint32_t, Ends> ends_;
};

} // namespace

Result<> stream_trace(const AgentView& view, const TraceConnectionsRequest& request,
                      const std::function<bool(const TraceStep&)>& send, const std::function<bool()>& go_on) {
    auto* const tracer = view.tracer();
    if (tracer == nullptr) {
        return failure(EOPNOTSUPP, "this agent cannot trace connections");
    }
    if (request.port() > 65535) {
        return invalid("port {} is none", request.port());
    }
    const auto desired = view.desired();
    WEFT_ASSIGN(const auto netns, netns_of(*desired, request));
    telemetry::TraceWish wish;
    wish.netns = netns;
    wish.port = static_cast<std::uint16_t>(request.port());
    wish.count = std::clamp<std::uint32_t>(request.count(), 1, kMostConnections);
    const auto limit =
        request.timeout_seconds() > 0
            ? std::min<Clock::duration>(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                                            std::min(request.timeout_seconds(), 1.0 * kLongestLimit.count()))),
                                        kLongestLimit)
            : kUsualLimit;
    WEFT_ASSIGN(const auto trace, tracer->open(wish));
    Teller tell(view, send);
    const auto until = Clock::now() + limit;
    bool alive = tell.word(fmt::format("waiting for {} of {}/{} on node {}",
                                       wish.count == 1 ? std::string("the next connection")
                                                       : fmt::format("the next {} connections", wish.count),
                                       request.namespace_(), request.pod(), view.health().node_name));
    while (alive && go_on() && !trace->complete() && Clock::now() < until) {
        for (const auto& step : trace->wait(std::min<std::chrono::milliseconds>(
                 kPatience, std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now())))) {
            alive = alive && tell.step(step);
        }
    }
    for (const auto& step : alive ? trace->rest() : std::vector<telemetry::TraceStep>()) {
        alive = alive && tell.step(step);
    }
    if (alive && trace->lost() > 0) {
        alive = tell.word(fmt::format("{} steps were lost, as they came faster than they were taken", trace->lost()));
    }
    if (alive && !trace->complete()) {
        (void)tell.word(fmt::format("the time is over; {} of {} connections were seen", trace->seen(), wish.count));
    }
    return {};
}

} // namespace weft::admin
