// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does Prometheus see? Every number is read from the kernel or the agent at scrape time; nothing is counted twice
// and there is no series per connection or per pod.
#pragma once

#include <string>

#include "agent/admin/view.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "agent/telemetry/rule_drops.hpp"
#include "agent/telemetry/traffic_names.hpp"

namespace weft::otlp {
class Exporter;
}

namespace weft::telemetry {

class AccessLog;

/// The page of metrics now, in Prometheus' text format 0.0.4. `names` and `rules` learn from what is printed; `log` and
/// `otlp` are null where there is no such output.
/// Thread: one at a time with the same `names`.
std::string metrics_page(const admin::AgentView& view, const bpf::TrafficSource& traffic, const FlowRing& ring,
                         const AccessLog* log, const otlp::Exporter* otlp, TrafficNames& names, RuleDropsNames& rules);

} // namespace weft::telemetry
