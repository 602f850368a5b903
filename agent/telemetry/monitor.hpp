// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which pages does the agent serve to those who watch it?
//   /metrics   what Prometheus scrapes
//   /healthz   200 while the control loop works, else 503
//   /readyz    200 from when the service manager was told READY until it is told STOPPING, else 503
//   /debug/    JSON: heap, threads, and how late the control loop comes to its work
#pragma once

#include <string>

#include "agent/admin/view.hpp"
#include "agent/bpf/traffic.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "agent/telemetry/http_pages.hpp"
#include "agent/telemetry/pulse.hpp"
#include "weft/base/result.hpp"

namespace weft::otlp {
class Exporter;
}

namespace weft::telemetry {

class AccessLog;

struct MonitorOptions {
    std::string address;                      ///< as HttpPages::start() takes it
    std::string trust_domain = "cluster.local"; ///< first part of principals in labels
    std::string cluster = "Kubernetes";       ///< source_cluster and destination_cluster
    const AccessLog* access_log = nullptr;    ///< null: there is none; it must outlive the pages
    const otlp::Exporter* otlp = nullptr;     ///< the same
};

/// Serves the pages as long as it lives.
class Monitor {
public:
    /// All but the options must outlive it. Errors: those of HttpPages::start().
    static Result<Monitor> start(const MonitorOptions& options, const admin::AgentView& view,
                                 const bpf::TrafficSource& traffic, const FlowRing& ring, const Pulse& pulse);

    /// Port that is listened on.
    [[nodiscard]] int port() const { return pages_.port(); }

private:
    explicit Monitor(HttpPages pages) : pages_(std::move(pages)) {}
    HttpPages pages_;
};

} // namespace weft::telemetry
