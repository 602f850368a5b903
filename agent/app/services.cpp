// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/services.hpp"

#include <algorithm>
#include <future>
#include <random>
#include <tuple>

#include <spdlog/spdlog.h>

#include "agent/app/hook_probe.hpp"
#include "agent/app/option_values.hpp"
#include "agent/app/trace_moment.hpp"
#include "agent/telemetry/enrich.hpp"
#include "agent/telemetry/trace_event.hpp"
#include "flow/flow.pb.h"
#include "weft/abi/reasons.h"

namespace weft::app {
namespace {

/// How often the event ring is emptied; the kernel wakes us earlier when it fills up (bpf/lib/event.bpf.h).
constexpr std::chrono::milliseconds kEventTick{100};
/// Sums of connections are looked through for what is gone so many times in a time of grace, at most once a second.
constexpr int kTrafficTicks = 10;
/// UDP flows are looked through for silent ones so many times in their timeout, at most once a second.
constexpr int kUdpTicks = 10;
/// How long a trace waits until the control thread has told the hooks; it may be writing maps.
constexpr std::chrono::seconds kArmPatience{10};
/// How often lost lines of the access log are looked for.
constexpr std::chrono::seconds kLogWatch{10};

/// How this agent serves flows. The address was checked with the options.
Result<admin::Reach> reach(const Options& options) {
    admin::Reach out;
    out.socket_path = options.run_dir + "/admin.sock";
    if (!options.flow_address.empty()) {
        WEFT_ASSIGN(std::tie(out.host, out.port), split_address(options.flow_address));
        out.tls = !options.flow_plaintext;
    }
    return out;
}

} // namespace

Services::Services(const Options& options, const Agent& agent, std::unique_ptr<View> view, bpf::RingReader ring)
    : node_name_(options.node_name), trust_domain_(options.trust_domain), agent_(agent), view_(std::move(view)),
      flows_(options.flow_buffer), ring_(std::move(ring)), boot_id_(std::random_device{}()) {}

Result<std::unique_ptr<Services>> Services::start(const Options& options, Loop& loop, Agent& agent) {
    WEFT_ASSIGN(auto view, View::create(options, agent.published(), agent.datapath(), agent.mesh()));
    WEFT_ASSIGN(const int events, agent.datapath().map_fd("weft_events"));
    WEFT_ASSIGN(auto ring, bpf::RingReader::open(events));
    std::unique_ptr<Services> services(new Services(options, agent, std::move(view), std::move(ring)));
    Services& self = *services;
    self.view_->set_tracer(self.tracer_);
    self.arm_traces(loop, agent, options.flow_events);

    WEFT_ASSIGN(self.traffic_, bpf::TrafficMaps::open(agent.datapath()));
    if (const auto lost = self.kernel_lost(); lost) {
        self.flows_.begin_kernel_lost(*lost, mesh::monotonic_ns() + telemetry::wall_clock_offset_ns());
    }

    admin::ServerOptions server;
    server.socket_path = options.run_dir + "/admin.sock";
    server.group = options.socket_group;
    WEFT_ASSIGN(server.reach, reach(options));
    WEFT_TRY(self.open_outputs(options, loop));
    WEFT_ASSIGN(self.admin_, admin::AdminServer::start(server, *self.view_, self.flows_));
    if (!options.metrics_address.empty()) {
        const telemetry::MonitorOptions monitor{.address = options.metrics_address,
                                                .trust_domain = options.trust_domain,
                                                .cluster = options.cluster_name,
                                                .access_log = self.access_log_.get(),
                                                .otlp = self.otlp_.get()};
        WEFT_ASSIGN(self.monitor_,
                    telemetry::Monitor::start(monitor, *self.view_, *self.traffic_, self.flows_, self.pulse_));
    }
    if (auto* mesh = agent.mesh(); mesh != nullptr) {
        // Workers report; flows are made on the loop, as all others.
        mesh->on_failure([&self, &loop](const mesh::FailureReport& report) {
            loop.post([&self, report] { self.add_refused(report); });
        });
    }
    WEFT_TRY(loop.watch(self.ring_.fd(), [&self] { self.read_events(); }));
    loop.every(kEventTick, [&self] { self.read_events(); });
    WEFT_TRY(self.end_udp_flows(agent.datapath(), options.udp_flow_timeout, loop));
    loop.every(telemetry::Pulse::kInterval, [&self] { self.pulse_.beat(telemetry::Pulse::Clock::now()); });
    self.traffic_keeper_.emplace(*self.traffic_, options.traffic_grace);
    loop.every(std::max(options.traffic_grace / kTrafficTicks, std::chrono::seconds(1)), [&self] {
        const auto now = telemetry::TrafficKeeper::Clock::now();
        if (const auto kept = self.traffic_keeper_->tick(*self.view_->desired(), now); !kept) {
            spdlog::error("event=traffic-failed error=\"{}\" effect=\"series of what is gone stay\"",
                          kept.error().message());
        }
    });
    return services;
}

Result<> Services::open_outputs(const Options& options, Loop& loop) {
    if (!options.access_log.empty()) {
        telemetry::AccessLogOptions log;
        log.path = options.access_log;
        log.max_bytes = static_cast<std::uint64_t>(options.access_log_max_size) << 20;
        log.files = static_cast<unsigned>(options.access_log_files);
        log.sampling = options.access_log_sampling;
        WEFT_ASSIGN(access_log_, telemetry::AccessLog::start(std::move(log)));
        loop.every(kLogWatch, [this] { watch_access_log(); });
    }
    if (!options.otlp_endpoint.empty()) {
        otlp::ExporterOptions receiver;
        receiver.endpoint = options.otlp_endpoint;
        receiver.ca = options.otlp_ca;
        receiver.certificate = options.otlp_cert;
        receiver.key = options.otlp_key;
        receiver.headers_file = options.otlp_headers_file;
        receiver.resource = options.otlp_resource;
        receiver.sampling = options.otlp_sampling;
        receiver.logs = options.otlp_signals != "spans";
        receiver.spans = options.otlp_signals != "logs";
        receiver.node_name = options.node_name;
        receiver.cluster_name = options.cluster_name;
        receiver.pipeline.queue = options.otlp_queue;
        WEFT_ASSIGN(otlp_, otlp::Exporter::start(receiver));
        loop.every(kLogWatch, [this] { watch_otlp(); });
    }
    if (!options.flow_address.empty()) {
        admin::FlowListener listener;
        WEFT_ASSIGN(listener.reach, reach(options));
        listener.certificate = options.flow_tls_cert;
        listener.key = options.flow_tls_key;
        listener.authority = options.flow_tls_ca;
        WEFT_ASSIGN(flow_server_, admin::FlowServer::start(std::move(listener), *view_, flows_));
    }
    return {};
}

Result<> Services::end_udp_flows(const bpf::Datapath& datapath, std::chrono::seconds timeout, Loop& loop) {
    WEFT_ASSIGN(udp_flows_, bpf::UdpFlows::open(datapath));
    loop.every(std::max(timeout / kUdpTicks, std::chrono::seconds(1)), [this, timeout] {
        // Not followed any more: what an earlier agent began still ends, at once.
        if (const auto pass = udp_flows_->sweep(timeout); !pass) {
            spdlog::error("event=udp-sweep-failed error=\"{}\" effect=\"no end of a UDP flow is told\"",
                          pass.error().message());
        }
    });
    return {};
}

void Services::add_flow(flow::Flow&& flow) {
    // The agent's own look at the hooks, at its start, is no traffic of anybody's.
    const auto& probe = *probe_service();
    const auto& dialled = flow.destination_service();
    if (dialled.name() != probe.name || dialled.namespace_() != probe.namespace_name) {
        if (access_log_) {
            access_log_->add(flow);
        }
        if (otlp_) {
            otlp_->add(flow);
        }
    }
    flows_.append(std::move(flow));
}

void Services::watch_access_log() {
    const auto now = access_log_->stats();
    if (now.lost() > logged_.lost()) {
        spdlog::warn("event=access-log-lost lines={} disk_full={} failed={} queue_full={} error=\"{}\" "
                     "effect=\"traffic goes on; those lines are not written later\"",
                     now.lost() - logged_.lost(), now.disk_full, now.failed, now.queue_full, now.last_error);
    }
    logged_ = now;
}

void Services::watch_otlp() {
    std::uint64_t lost = 0, waiting = 0;
    std::string error;
    for (const auto& one : otlp_->stats()) {
        lost += one.sent.lost();
        waiting += one.sent.waiting;
        error = one.sent.last_error.empty() ? error : one.sent.last_error;
    }
    if (lost > otlp_lost_) {
        spdlog::warn("event=otlp-lost records={} waiting={} error=\"{}\" effect=\"traffic goes on; the receiver never "
                     "gets those records\"",
                     lost - otlp_lost_, waiting, error);
    }
    otlp_lost_ = lost;
}

void Services::arm_traces(Loop& loop, Agent& agent, bool flow_events) {
    tracer_.set_arm([this, &loop, &agent, flow_events](bool on) -> Result<> {
        if (!flow_events) {
            return failure(EOPNOTSUPP, "flow_events is off in the agent's configuration: the hooks tell nothing");
        }
        if (auto* mesh = agent.mesh(); mesh != nullptr) {
            mesh->trace(on ? [this](const mesh::MomentReport& moment) {
                if (moment.facts.workload) {
                    tracer_.report(trace_input(moment));
                }
            } : mesh::Stats::OnMoment());
        }
        const auto done = std::make_shared<std::promise<Result<>>>();
        auto told = done->get_future();
        loop.post([&agent, done, on] { done->set_value(agent.set_tracing(on)); });
        if (!on) {
            return {}; // nobody waits for it; when the agent ends, not even the control thread
        }
        if (told.wait_for(kArmPatience) != std::future_status::ready) {
            return failure(ETIMEDOUT, "the agent is too busy to tell the hooks");
        }
        return told.get();
    });
}

telemetry::EnrichContext Services::context(const Picture& picture) const {
    telemetry::EnrichContext context;
    context.desired = picture.desired.get();
    context.node_name = node_name_;
    context.trust_domain = trust_domain_;
    context.policy_revision = picture.revision;
    context.wall_offset_ns = telemetry::wall_clock_offset_ns();
    context.boot_id = boot_id_;
    return context;
}

void Services::add_refused(const mesh::FailureReport& report) {
    const auto& facts = report.facts;
    if (!facts.workload) {
        return; // it failed before anybody knew whose connection it was
    }
    const bool client = facts.side == mesh::Side::kClient;
    weft_event event{};
    event.time_ns = static_cast<std::uint64_t>(mesh::monotonic_ns());
    event.cookie = facts.cookie;
    event.netns = facts.workload->netns_cookie;
    event.local = facts.app;
    if (client) { // its own end is on loopback, towards the agent
        event.local.addr = (Ip(facts.remote.addr).is_v4() ? facts.workload->addr4 : facts.workload->addr6).raw();
    }
    event.remote = facts.remote;
    event.asked = client ? facts.asked : facts.remote;
    event.kind = WEFT_EVENT_DENIED;
    event.reason = WEFT_REASON_MESH_NOT_READY;
    event.direction = client ? WEFT_EGRESS : WEFT_INGRESS;
    const auto picture = agent_.published().get();
    auto flow = telemetry::enrich(event, context(*picture));
    auto& detail = *flow.mutable_weft();
    detail.set_reason(report.reason);
    const auto own = facts.workload->id.to_string();
    const auto peer = facts.peer ? facts.peer->to_string() : "";
    detail.set_source_principal(client ? own : peer);
    detail.set_destination_principal(client ? peer : own);
    flow.set_summary(fmt::format("mutual TLS: {}: {}", report.reason, report.detail));
    add_flow(std::move(flow));
}

void Services::read_events() {
    const auto picture = agent_.published().get();
    const auto known = context(*picture);
    const auto began_ns = mesh::monotonic_ns();
    const auto count = ring_.consume([&](const weft_event& event) {
        auto flow = telemetry::enrich(event, known);
        if (tracer_.active()) {
            for (const auto& step : telemetry::trace_steps(event, flow.weft().rule(), flow.weft().service())) {
                tracer_.report(step);
            }
        }
        if (event.kind != WEFT_EVENT_FIRST_BYTE) { // only traces want those
            add_flow(std::move(flow));
        }
    });
    if (!count) {
        spdlog::error("event=ring-failed error=\"{}\"", count.error().message());
        return;
    }
    tracer_.kernel_read_until(began_ns);
    if (*count > 0) { // none is lost while the ring is empty
        if (const auto lost = kernel_lost(); lost) {
            flows_.set_kernel_lost(*lost, mesh::monotonic_ns() + known.wall_offset_ns);
        }
    }
}

std::optional<std::uint64_t> Services::kernel_lost() const {
    const auto counters = view_->counters();
    if (!counters) {
        return std::nullopt; // the next look tells
    }
    std::uint64_t lost = 0;
    for (std::size_t direction = 0; direction < WEFT_DIRECTION_COUNT; ++direction) {
        lost += counters->drops[std::size_t{WEFT_REASON_EVENT_LOST} * WEFT_DIRECTION_COUNT + direction];
    }
    return lost;
}

} // namespace weft::app
