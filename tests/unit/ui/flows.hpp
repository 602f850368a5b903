// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Flows as agents report them, for tests of the service map.
#pragma once

#include <string>

#include "flow/flow.pb.h"

namespace weft::ui_test {

inline constexpr double kNow = 1'800'000'002; // two seconds into a bucket
using Detail = observe::FlowDetail;

inline void set_pod(flow::Endpoint& end, const std::string& app) {
    end.set_namespace_(app.substr(0, app.find('/')));
    end.set_pod_name(app.substr(app.find('/') + 1) + "-0");
    end.add_labels("k8s:app=" + app.substr(app.find('/') + 1));
}

/// A TCP flow from "NS/APP" to "NS/APP", which this second's agent of the source saw.
inline flow::Flow flow_between(const std::string& from, const std::string& to, Detail::Kind kind = Detail::CONNECT) {
    flow::Flow flow;
    flow.mutable_time()->set_seconds(static_cast<std::int64_t>(kNow));
    flow.set_verdict(kind == Detail::DENIED || kind == Detail::NO_BACKEND ? flow::DROPPED : flow::FORWARDED);
    flow.set_traffic_direction(flow::EGRESS);
    flow.set_node_name("node-1");
    set_pod(*flow.mutable_source(), from);
    set_pod(*flow.mutable_destination(), to);
    flow.mutable_l4()->mutable_tcp()->set_source_port(41022);
    flow.mutable_l4()->mutable_tcp()->set_destination_port(8080);
    flow.mutable_weft()->set_kind(kind);
    return flow;
}

/// The same as the agent of the destination sees it.
inline flow::Flow seen_by_destination(flow::Flow flow) {
    flow.set_traffic_direction(flow::INGRESS);
    flow.set_node_name("node-2");
    if (flow.weft().kind() == Detail::CONNECT) {
        flow.mutable_weft()->set_kind(Detail::ACCEPT);
    }
    return flow;
}

} // namespace weft::ui_test
