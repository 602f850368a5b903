// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Everything that looks at the running agent from outside: the command line's API, the flow stream, the metrics.
// Nothing here can change what the data path does.
// Thread: control, except what AdminServer and Monitor run on their own.
#pragma once

#include <memory>
#include <optional>

#include "agent/admin/flow_server.hpp"
#include "agent/admin/server.hpp"
#include "agent/app/agent.hpp"
#include "agent/app/view.hpp"
#include "agent/bpf/ring_reader.hpp"
#include "agent/bpf/udp_flows.hpp"
#include "agent/otlp/exporter.hpp"
#include "agent/telemetry/access_log.hpp"
#include "agent/telemetry/enrich.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "agent/telemetry/monitor.hpp"
#include "agent/telemetry/trace.hpp"
#include "agent/telemetry/traffic_keeper.hpp"

namespace weft::app {

class Services {
public:
    /// Starts what the options ask for. `agent` and `loop` must outlive it.
    static Result<std::unique_ptr<Services>> start(const Options& options, Loop& loop, Agent& agent);

    /// What /readyz says: true once the service manager was told READY, false when it is told STOPPING.
    void set_ready(bool ready) { pulse_.set_ready(ready); }

private:
    Services(const Options& options, const Agent& agent, std::unique_ptr<View> view, bpf::RingReader ring);
    /// Opens what the options ask for beside the admin socket: the access log and the listener for other machines.
    Result<> open_outputs(const Options& options, Loop& loop);
    /// To everybody who wants flows.
    void add_flow(flow::Flow&& flow);
    /// Says in the agent's log that lines of the access log were lost, when more were.
    void watch_access_log();
    /// The same of records for the OTLP receiver.
    void watch_otlp();
    /// Ends UDP flows in the kernel that fell silent, now and then.
    Result<> end_udp_flows(const bpf::Datapath& datapath, std::chrono::seconds timeout, Loop& loop);
    /// Turns what the kernel's ring holds into flows.
    void read_events();
    /// Events that the kernel lost since the hooks were attached; nothing when its counters cannot be read.
    [[nodiscard]] std::optional<std::uint64_t> kernel_lost() const;
    /// A flow for a connection that mutual TLS refused.
    void add_refused(const mesh::FailureReport& report);
    [[nodiscard]] telemetry::EnrichContext context(const Picture& picture) const;
    /// Lets traces begin and end: then hooks and workers tell more.
    void arm_traces(Loop& loop, Agent& agent, bool flow_events);

    std::string node_name_, trust_domain_;
    const Agent& agent_;
    std::unique_ptr<View> view_;
    telemetry::Tracer tracer_;
    telemetry::FlowRing flows_;
    telemetry::Pulse pulse_;
    std::unique_ptr<bpf::TrafficMaps> traffic_;
    std::optional<telemetry::TrafficKeeper> traffic_keeper_;
    bpf::RingReader ring_;
    std::optional<bpf::UdpFlows> udp_flows_;
    std::unique_ptr<telemetry::AccessLog> access_log_; ///< null: none is wanted
    telemetry::AccessLog::Stats logged_; ///< what was said of it in the agent's own log
    std::unique_ptr<otlp::Exporter> otlp_; ///< null: none is wanted
    std::uint64_t otlp_lost_ = 0; ///< what was said of it in the agent's own log
    std::optional<admin::AdminServer> admin_;
    std::optional<admin::FlowServer> flow_server_;
    std::optional<telemetry::Monitor> monitor_;
    std::uint64_t boot_id_ = 0;
};

} // namespace weft::app
