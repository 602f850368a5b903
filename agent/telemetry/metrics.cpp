// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The families of /metrics, filled at each scrape from the kernel's counters and the agent's state.
#include "agent/telemetry/metrics.hpp"

#include <cmath>
#include <limits>
#include <map>

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include "agent/otlp/exporter.hpp"
#include "agent/telemetry/access_log.hpp"
#include "agent/telemetry/reasons.hpp"
#include "weft/abi/event.h"

namespace weft::telemetry {
namespace {

using Labels = std::vector<std::pair<std::string, std::string>>;

class Families {
public:
    Families& counter(const char* name, const char* help) { return open(name, help, prometheus::MetricType::Counter); }
    Families& gauge(const char* name, const char* help) { return open(name, help, prometheus::MetricType::Gauge); }
    Families& add(const Labels& labels, double value) {
        prometheus::ClientMetric metric;
        for (const auto& [key, text] : labels) {
            metric.label.push_back({key, text});
        }
        if (families_.back().type == prometheus::MetricType::Counter) {
            metric.counter.value = value;
        } else {
            metric.gauge.value = value;
        }
        families_.back().metric.push_back(std::move(metric));
        return *this;
    }
    Families& histograms(const char* name, const char* help) {
        return open(name, help, prometheus::MetricType::Histogram);
    }
    /// Bucket i of `counts` holds what is below 2^i microseconds and in no lower bucket; the last one takes the rest.
    Families& add_histogram(const Labels& labels, const std::vector<std::uint64_t>& counts, double sum_seconds) {
        prometheus::ClientMetric metric;
        for (const auto& [key, text] : labels) {
            metric.label.push_back({key, text});
        }
        std::uint64_t total = 0;
        for (std::size_t i = 0; i < counts.size(); ++i) {
            total += counts[i];
            const bool last = i + 1 == counts.size();
            metric.histogram.bucket.push_back(
                {total, last ? std::numeric_limits<double>::infinity() : std::ldexp(1e-6, static_cast<int>(i))});
        }
        metric.histogram.sample_count = total;
        metric.histogram.sample_sum = sum_seconds;
        families_.back().metric.push_back(std::move(metric));
        return *this;
    }
    std::vector<prometheus::MetricFamily> take() { return std::move(families_); }

private:
    Families& open(const char* name, const char* help, prometheus::MetricType type) {
        families_.push_back({name, help, type, {}});
        return *this;
    }
    std::vector<prometheus::MetricFamily> families_;
};

double at(const std::vector<std::uint64_t>& values, std::size_t index) {
    return index < values.size() ? static_cast<double>(values[index]) : 0.0;
}

double age_seconds(std::chrono::steady_clock::time_point since) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - since).count();
}

void add_counters(Families& out, const admin::Counters& read, const FlowRing::Stats& ring) {
    const auto& c = read.counters;
    out.counter("weft_connections_opened_total",
                "Connections that governed workloads opened (egress) or accepted (ingress).")
        .add({{"direction", "egress"}}, at(c, WEFT_COUNTER_CONNECTS))
        .add({{"direction", "ingress"}}, at(c, WEFT_COUNTER_ACCEPTS));
    out.counter("weft_connections_closed_total", "Connections of governed workloads that ended, for whatever cause.")
        .add({}, at(c, WEFT_COUNTER_CLOSES));
    out.counter("weft_bytes_total", "Payload bytes of connections that ended, as their workload saw them.")
        .add({{"direction", "sent"}}, at(c, WEFT_COUNTER_BYTES_SENT))
        .add({{"direction", "received"}}, at(c, WEFT_COUNTER_BYTES_RECEIVED));
    out.counter("weft_translations_total", "Connects and first datagrams to a Service that were given a backend.")
        .add({}, at(c, WEFT_COUNTER_TRANSLATIONS));
    out.counter("weft_retransmits_total", "Segments that were sent again on connections that ended.")
        .add({}, at(c, WEFT_COUNTER_RETRANSMITS));
    out.counter("weft_accelerated_connections_total", "Connections inside the node whose two ends were joined.")
        .add({}, at(c, WEFT_COUNTER_ACCEL_JOINED));
    out.counter("weft_accelerated_bytes_total", "Payload bytes inside the node that skipped TCP/IP.")
        .add({}, at(c, WEFT_COUNTER_ACCEL_BYTES));
    out.counter("weft_events_total", "Flow events that the hooks produced, whether they were delivered or lost.")
        .add({}, at(c, WEFT_COUNTER_EVENTS));

    double lost = 0;
    for (int pass = 0; pass < 2; ++pass) {
        const bool drops = pass == 0;
        if (drops) {
            out.counter("weft_drops_total", "Connects and packets that were refused or dropped, by reason.");
        } else {
            out.counter("weft_fallbacks_total", "Outcomes off the normal path after which traffic went on, by reason.");
        }
        for (std::uint8_t reason = WEFT_REASON_NONE + 1; reason < WEFT_REASON_COUNT; ++reason) {
            if (reason == WEFT_REASON_EVENT_LOST || reason_refuses(reason) != drops) {
                continue; // lost events have a family of their own
            }
            for (std::uint8_t direction = 0; direction < WEFT_DIRECTION_COUNT; ++direction) {
                out.add({{"reason", std::string(reason_label(reason))},
                         {"direction", std::string(direction_label(direction))}},
                        at(read.drops, static_cast<std::size_t>(reason) * WEFT_DIRECTION_COUNT + direction));
            }
        }
    }
    for (std::size_t direction = 0; direction < WEFT_DIRECTION_COUNT; ++direction) {
        lost += at(read.drops, static_cast<std::size_t>(WEFT_REASON_EVENT_LOST) * WEFT_DIRECTION_COUNT + direction);
    }
    out.counter("weft_events_lost_total", "Flow events that nobody saw, by where they were lost. Counters stay exact.")
        .add({{"reason", "kernel-ring"}}, lost)
        .add({{"reason", "slow-client"}}, static_cast<double>(ring.missed));
    out.counter("weft_flows_total", "Flows that the agent read from the kernel and kept for `weft flows`.")
        .add({}, static_cast<double>(ring.seen));
}

/// UDP is not in Istio's metrics, which are of connections.
void add_udp(Families& out, const std::vector<std::uint64_t>& c) {
    out.counter("weft_udp_flows_opened_total", "UDP flows that workloads began (egress), or their peers (ingress).")
        .add({{"direction", "egress"}}, at(c, WEFT_COUNTER_UDP_SENT_FIRST))
        .add({{"direction", "ingress"}}, at(c, WEFT_COUNTER_UDP_RECEIVED_FIRST));
    out.counter("weft_udp_flows_closed_total", "UDP flows that ended: udp_flow_timeout passed without a datagram.")
        .add({}, at(c, WEFT_COUNTER_UDP_ENDED));
    out.counter("weft_udp_bytes_total", "Payload bytes of UDP flows that ended, as their workload saw them.")
        .add({{"direction", "sent"}}, at(c, WEFT_COUNTER_UDP_BYTES_SENT))
        .add({{"direction", "received"}}, at(c, WEFT_COUNTER_UDP_BYTES_RECEIVED));
    out.counter("weft_udp_datagrams_total", "Datagrams of UDP flows that ended, as their workload saw them.")
        .add({{"direction", "sent"}}, at(c, WEFT_COUNTER_UDP_PACKETS_SENT))
        .add({{"direction", "received"}}, at(c, WEFT_COUNTER_UDP_PACKETS_RECEIVED));
}

void add_access_log(Families& out, const AccessLog::Stats& log) {
    out.counter("weft_access_log_lines_total", "Lines of the access log, by what became of them.")
        .add({{"result", "written"}}, static_cast<double>(log.written))
        .add({{"result", "sampled-out"}}, static_cast<double>(log.sampled_out))
        .add({{"result", "lost-queue-full"}}, static_cast<double>(log.queue_full))
        .add({{"result", "lost-disk-full"}}, static_cast<double>(log.disk_full))
        .add({{"result", "lost-failed"}}, static_cast<double>(log.failed));
    out.counter("weft_access_log_rotations_total", "Files of the access log that became full and were put aside.")
        .add({}, static_cast<double>(log.rotations));
}

void add_otlp(Families& out, const std::vector<otlp::Exporter::Stats>& all) {
    out.counter("weft_otlp_records_total", "Records for the OTLP receiver, by signal and by what became of them.");
    for (const auto& one : all) {
        const std::pair<const char*, std::uint64_t> results[] = {
            {"delivered", one.sent.delivered},        {"sampled-out", one.sampled_out},
            {"lost-queue-full", one.sent.queue_full}, {"lost-refused", one.sent.refused},
            {"lost-rejected", one.sent.rejected},     {"lost-stopped", one.sent.stopped}};
        for (const auto& [result, value] : results) {
            out.add({{"signal", one.signal}, {"result", result}}, static_cast<double>(value));
        }
    }
    out.gauge("weft_otlp_waiting_records", "Records that wait for the OTLP receiver, or are on their way.");
    for (const auto& one : all) {
        out.add({{"signal", one.signal}}, static_cast<double>(one.sent.waiting));
    }
    out.counter("weft_otlp_retries_total", "Requests to the OTLP receiver that were sent again.");
    for (const auto& one : all) {
        out.add({{"signal", one.signal}}, static_cast<double>(one.sent.retries));
    }
}

void add_maps(Families& out, const std::vector<admin::MapHealth>& maps) {
    std::map<std::string, const admin::MapHealth*> sorted;
    for (const auto& map : maps) {
        sorted.emplace(map.name, &map);
    }
    out.gauge("weft_map_entries", "Entries of a kernel map. Compare with weft_map_capacity.");
    for (const auto& [name, map] : sorted) {
        if (map->counted) {
            out.add({{"map", name}}, static_cast<double>(map->entries));
        }
    }
    out.gauge("weft_map_capacity", "Entries that a kernel map can hold.");
    for (const auto& [name, map] : sorted) {
        if (map->counted) {
            out.add({{"map", name}}, static_cast<double>(map->capacity));
        }
    }
    out.counter("weft_drift_entries_total", "Map entries that somebody else had changed and the agent repaired.");
    for (const auto& [name, map] : sorted) {
        out.add({{"map", name}}, static_cast<double>(map->drift));
    }
}

void add_state(Families& out, const admin::AgentView& view) {
    const auto health = view.health();
    const auto desired = view.desired();
    const auto snapshot = view.snapshot();
    out.gauge("weft_build_info", "1, with the agent's version and node as labels.")
        .add({{"version", WEFT_VERSION}, {"node", health.node_name}}, 1);
    out.gauge("weft_ready", "1 when a complete state is in the kernel and the live connect probe did not fail.")
        .add({}, health.synced && health.probe != admin::HookProbe::kFailed ? 1 : 0);
    out.gauge("weft_hooks_attached", "Kernel hooks that are attached.")
        .add({}, static_cast<double>(health.hooks.size()));
    out.gauge("weft_policy_revision", "Policy revision in force; grows with each policy change.")
        .add({}, static_cast<double>(health.policy_revision));
    out.gauge("weft_snapshot_version", "Version of the object snapshot in force.")
        .add({}, static_cast<double>(desired->snapshot_version));
    if (health.synced) {
        out.gauge("weft_sync_age_seconds", "Seconds since the kernel's maps were last brought to the desired state.")
            .add({}, age_seconds(health.last_sync));
    }
    out.gauge("weft_uptime_seconds", "Seconds since the agent started.").add({}, age_seconds(health.started));
    out.gauge("weft_refused_objects", "Objects that were refused; `weft status` says why.")
        .add({}, static_cast<double>(snapshot->refusals->size() + desired->refusals.size()));
    out.gauge("weft_write_failures", "Objects that the kernel's maps could not take; `weft status` says why.")
        .add({}, static_cast<double>(health.failures.size()));
    out.gauge("weft_services", "Service ports in force.").add({}, static_cast<double>(desired->services.size()));
    out.gauge("weft_endpoints", "Workloads of this node that are governed.")
        .add({}, desired->policy ? static_cast<double>(desired->policy->endpoints.size()) : 0.0);
}

using Principals = admin::MeshHealth::Principals;

/// One series for each pair of identities: as many as there are service accounts that talk, not as connections.
void add_principals(Families& out, const std::vector<Principals>& all) {
    struct Family {
        const char *name, *help;
        std::uint64_t Principals::* value;
    };
    static constexpr Family kFamilies[] = {
        {"weft_principal_connections_opened_total",
         "Connections between nodes that began to carry bytes, by the identities that the handshake proved.",
         &Principals::opened},
        {"weft_principal_connections_closed_total",
         "Connections of weft_principal_connections_opened_total that ended.", &Principals::closed},
        {"weft_principal_sent_bytes_total", "Payload bytes that this node's workload sent on those that ended.",
         &Principals::sent},
        {"weft_principal_received_bytes_total", "Payload bytes that this node's workload received on those that ended.",
         &Principals::received},
    };
    for (const auto& family : kFamilies) {
        out.counter(family.name, family.help);
        for (const auto& one : all) {
            out.add({{"side", one.side},
                     {"connection_security_policy", one.mutual_tls ? "mutual_tls" : "none"},
                     {"source_principal", one.source},
                     {"destination_principal", one.destination}},
                    static_cast<double>(one.*family.value));
        }
    }
}

void add_mesh(Families& out, const admin::MeshHealth& mesh) {
    out.gauge("weft_mesh_tier", "1, with the way in which bytes of mutual TLS are moved as label.")
        .add({{"tier", mesh.tier}}, 1);
    out.counter("weft_mesh_connections_opened_total", "Connections by mutual TLS that began to carry bytes, by tier.");
    for (const auto& count : mesh.opened) {
        out.add({{"side", count.side}, {"tier", count.word}}, static_cast<double>(count.value));
    }
    out.counter("weft_mesh_failures_total", "Connections by mutual TLS that failed, by reason.");
    for (const auto& count : mesh.failed) {
        out.add({{"side", count.side}, {"reason", count.word}}, static_cast<double>(count.value));
    }
    out.counter("weft_mesh_resumptions_total", "Connections by mutual TLS that resumed an earlier session.")
        .add({}, static_cast<double>(mesh.resumed));
    out.counter("weft_mesh_key_limit_total", "Keys that carried key_limit bytes, by what followed.");
    for (const auto& [action, value] : mesh.key_limits) {
        out.add({{"action", action}}, static_cast<double>(value));
    }
    out.counter("weft_mesh_key_updates_total", "Keys of carried connections that were changed, by direction.");
    for (const auto& [direction, value] : mesh.new_keys) {
        out.add({{"direction", direction}}, static_cast<double>(value));
    }
    out.counter("weft_mesh_revoked_connections_total",
                "Connections that were closed because the certificate or the identity of an end was revoked.");
    for (const auto& [side, value] : mesh.revoked) {
        out.add({{"side", side}}, static_cast<double>(value));
    }
    add_principals(out, mesh.principals);
    out.gauge("weft_mesh_connections", "Connections by mutual TLS that carry bytes now.")
        .add({}, static_cast<double>(mesh.connections.size()));
    out.histograms("weft_mesh_handshake_duration_seconds",
                   "Time from the connection between two nodes to its last flight.")
        .add_histogram({}, mesh.handshake_us, mesh.handshake_sum_seconds);
    out.gauge("weft_certificate_expiry_seconds",
              "Seconds until the certificate of a workload's identity expires; below zero when it has.");
    std::map<std::string, double> phases;
    for (const auto* phase : {"valid", "pending", "failing", "expired", "revoked"}) {
        phases[phase] = 0;
    }
    for (const auto& certificate : mesh.certificates) {
        ++phases[certificate.phase];
        if (certificate.not_after != 0) {
            out.add({{"id", certificate.id}}, certificate.seconds_left);
        }
    }
    out.gauge("weft_certificates", "Certificates of this node's enrolled workloads, by state as in `weft status`.");
    for (const auto& [phase, count] : phases) {
        out.add({{"state", phase}}, count);
    }
    if (!mesh.bundles.empty()) {
        out.gauge("weft_federation_bundle_roots", "Roots of another trust domain that are believed.");
        for (const auto& bundle : mesh.bundles) {
            out.add({{"trust_domain", bundle.trust_domain}}, static_cast<double>(bundle.roots));
        }
        out.gauge("weft_federation_bundle_age_seconds", "Time since they were last read where they are.");
        for (const auto& bundle : mesh.bundles) {
            if (bundle.age_seconds) {
                out.add({{"trust_domain", bundle.trust_domain}}, *bundle.age_seconds);
            }
        }
    }
}

/// Durations of connections, which the kernel keeps by powers of two.
void add_durations(Families& out, const std::vector<weft_histogram>& all) {
    struct Kind {
        const char *name, *help;
    };
#define WEFT_DURATION_KIND(name, metric, help) Kind{metric, help},
    static constexpr Kind kKinds[] = {WEFT_DURATIONS(WEFT_DURATION_KIND)};
#undef WEFT_DURATION_KIND
    for (std::size_t kind = 0; kind < WEFT_DURATION_COUNT; ++kind) {
        out.histograms(kKinds[kind].name, kKinds[kind].help);
        for (std::uint8_t direction = 0; direction < WEFT_DIRECTION_COUNT; ++direction) {
            const auto& one = all[kind * WEFT_DIRECTION_COUNT + direction];
            if (kind == WEFT_DURATION_CONNECT && direction == WEFT_INGRESS) {
                continue; // who accepts does not wait
            }
            out.add_histogram({{"direction", std::string(direction_label(direction))}},
                              {std::begin(one.bucket), std::end(one.bucket)}, static_cast<double>(one.sum_us) * 1e-6);
        }
    }
}

} // namespace

std::string metrics_page(const admin::AgentView& view, const bpf::TrafficSource& traffic, const FlowRing& ring,
                         const AccessLog* log, const otlp::Exporter* otlp, TrafficNames& names, RuleDropsNames& rules) {
    Families out;
    add_state(out, view);
    if (const auto mesh = view.mesh(); mesh) {
        add_mesh(out, *mesh);
    }
    if (log != nullptr) {
        add_access_log(out, log->stats());
    }
    if (otlp != nullptr) {
        add_otlp(out, otlp->stats());
    }
    const auto counters = view.counters();
    if (counters) {
        add_counters(out, *counters, ring.stats());
        add_udp(out, counters->counters);
    }
    const auto maps = view.maps();
    if (maps) {
        add_maps(out, *maps);
    }
    const auto durations = traffic.durations();
    if (durations) {
        add_durations(out, *durations);
    }
    const auto denials = traffic.rule_drops();
    if (denials) {
        out.counter("weft_rule_drops_total",
                    "Connects and packets that policy denied, by the policies that isolate the workload.");
        for (const auto& one : rules.series(*view.desired(), *denials)) {
            out.add({{"reason", one.reason}, {"direction", one.direction}, {"rule", one.rule}},
                    static_cast<double>(one.count));
        }
    }
    const auto sums = traffic.read();
    out.gauge("weft_scrape_failed", "1 when this part of the page could not be read from the kernel and is missing.")
        .add({{"part", "counters"}}, counters ? 0 : 1)
        .add({{"part", "maps"}}, maps ? 0 : 1)
        .add({{"part", "durations"}}, durations ? 0 : 1)
        .add({{"part", "rules"}}, denials ? 0 : 1)
        .add({{"part", "traffic"}}, sums ? 0 : 1);
    auto page = prometheus::TextSerializer().Serialize(out.take());
    if (sums) {
        names.learn(*view.desired(), *sums);
        names.print(*sums, page);
    }
    return page;
}

} // namespace weft::telemetry
