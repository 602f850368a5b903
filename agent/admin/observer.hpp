// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which flows go to a client of the Observer API, in which order, and when does it learn of a loss? The loop of
// GetFlows without gRPC, so that tests drive it with a plain function.
#pragma once

#include <chrono>
#include <functional>

#include "agent/telemetry/flow_ring.hpp"
#include "observer/observer.pb.h"
#include "weft/base/result.hpp"

namespace weft::admin {

/// Sends flows until the request is answered; with `follow` until `send` returns false, `go_on` does, the time `until`
/// is over, or the ring is closed. What was lost is sent whatever the filters say, at its place: of what the ring holds
/// the gaps behind the first flow that is sent, of what comes every loss, so that delivered and lost make up what
/// happened. Error EINVAL: a filter that cannot be understood, or `first` with `follow`.
Result<> stream_flows(const telemetry::FlowRing& ring, const observer::GetFlowsRequest& request,
                      const std::string& node_name, const std::function<bool(const observer::GetFlowsResponse&)>& send,
                      const std::function<bool()>& go_on);

/// Flows a second over the last minute, or over as much of it as the ring and the agent's `age` reach back.
double flows_a_second(const telemetry::FlowRing& ring, std::chrono::nanoseconds age);

/// Namespaces of the flows that are in the ring.
observer::GetNamespacesResponse namespaces_of(const telemetry::FlowRing& ring);

} // namespace weft::admin
