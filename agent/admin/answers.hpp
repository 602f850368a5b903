// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does the agent answer to each question of admin.proto? One function each, from AgentView to message: no gRPC, so
// that tests call them directly.
#pragma once

#include <functional>

#include "admin.pb.h"
#include "agent/admin/view.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "weft/base/result.hpp"

namespace weft::admin {

StatusResponse answer_status(const AgentView& view, const telemetry::FlowRing& ring);
ListServicesResponse answer_services(const AgentView& view, const ListServicesRequest& request);
ListEndpointsResponse answer_endpoints(const AgentView& view, const ListEndpointsRequest& request);
ListPoliciesResponse answer_policies(const AgentView& view, const ListPoliciesRequest& request);
ListIdentitiesResponse answer_identities(const AgentView& view);
/// Error: as AgentView::maps.
Result<ListMapsResponse> answer_maps(const AgentView& view);
/// Calls `send` for each entry, ordered by key text, until it returns false. Error: ENOENT, EOPNOTSUPP.
Result<> answer_dump(const AgentView& view, const DumpMapRequest& request,
                     const std::function<bool(const MapEntry&)>& send);
/// The same for governed sockets. Error: as AgentView::connections.
Result<> answer_connections(const AgentView& view, const ListConnectionsRequest& request,
                            const std::function<bool(const Connection&)>& send);
/// Opens a trace and hands out its steps as long as `go_on`. Errors: ENOENT no such pod here, EOPNOTSUPP no events,
/// EBUSY.
Result<> stream_trace(const AgentView& view, const TraceConnectionsRequest& request,
                      const std::function<bool(const TraceStep&)>& send, const std::function<bool()>& go_on);
/// Probes the kernel; needs no view.
CheckResponse answer_check();

} // namespace weft::admin
