// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does Prometheus see? Every number is read from the kernel or the agent at scrape time; nothing is counted twice
// and there is no series per connection or per pod.
#pragma once

#include <memory>
#include <string>

#include "agent/admin/view.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "weft/base/result.hpp"

namespace weft::telemetry {

/// GET /metrics. Thread: the exposer's own.
class MetricsServer {
public:
    /// Listens on `address` ("127.0.0.1:9465", "[::]:9465", "0.0.0.0:0"); `view` and `ring` must outlive it.
    /// Errors: EADDRINUSE or EINVAL, naming the address.
    static Result<MetricsServer> start(const std::string& address, const admin::AgentView& view, const FlowRing& ring);

    MetricsServer(MetricsServer&&) noexcept;
    MetricsServer& operator=(MetricsServer&&) noexcept;
    ~MetricsServer();

    /// Port that is listened on.
    [[nodiscard]] int port() const;

private:
    class Impl;
    explicit MetricsServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::telemetry
