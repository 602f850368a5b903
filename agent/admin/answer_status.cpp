// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft status`: health, counters, and one line for everything that needs attention.
#include <fmt/format.h>

#include "agent/admin/answers.hpp"
#include "agent/admin/certificates.hpp"
#include "agent/admin/features.hpp"
#include "agent/telemetry/reasons.hpp"
#include "weft/abi/event.h"

namespace weft::admin {
namespace {

// A map this full deserves a line before it refuses an entry.
constexpr double kMapPressure = 0.9;
// The agent repairs drift and re-syncs every few seconds; this long without it means that it is stuck.
constexpr double kStaleSyncSeconds = 120;

double seconds_since(std::chrono::steady_clock::time_point then) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

void add_refusal(StatusResponse& out, const store::Refusal& refusal) {
    auto& to = *out.add_refusals();
    to.set_object(refusal.key.kind.empty()
                      ? "document"
                      : fmt::format("{} {}{}{}", refusal.key.kind, refusal.key.namespace_name,
                                    refusal.key.namespace_name.empty() ? "" : "/", refusal.key.name));
    to.set_file(refusal.origin.file);
    to.set_line(refusal.origin.line > 0 ? static_cast<std::uint32_t>(refusal.origin.line) : 0);
    to.set_field(refusal.field);
    to.set_message(refusal.message);
    to.set_last_good_in_force(refusal.last_good_in_force);
}

void add_counters(StatusResponse& out, const Counters& read) {
#define WEFT_COUNTER_NAME(name, help) {#name, help},
    static constexpr struct {
        const char *name, *help;
    } kCounters[] = {WEFT_COUNTERS(WEFT_COUNTER_NAME)};
#undef WEFT_COUNTER_NAME
    for (std::size_t i = 0; i < WEFT_COUNTER_COUNT; ++i) {
        auto& to = *out.add_counters();
        std::string name = kCounters[i].name;
        for (auto& c : name) {
            c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        }
        to.set_name(name);
        to.set_help(kCounters[i].help);
        to.set_value(i < read.counters.size() ? read.counters[i] : 0);
    }
    for (std::size_t i = 0; i < read.drops.size(); ++i) {
        const auto reason = static_cast<std::uint8_t>(i / WEFT_DIRECTION_COUNT);
        if (read.drops[i] == 0 || reason == WEFT_REASON_NONE) {
            continue;
        }
        auto& to = *out.add_drops();
        to.set_reason(std::string(telemetry::reason_label(reason)));
        to.set_direction(std::string(telemetry::direction_label(static_cast<std::uint8_t>(i % WEFT_DIRECTION_COUNT))));
        to.set_help(std::string(telemetry::reason_help(reason)));
        to.set_value(read.drops[i]);
        if (reason == WEFT_REASON_EVENT_LOST) {
            out.set_events_lost(out.events_lost() + read.drops[i]);
        }
    }
}

void add_maps(StatusResponse& out, const std::vector<MapHealth>& maps) {
    std::uint64_t drift = 0;
    for (const auto& map : maps) {
        drift += map.drift;
        // The kernel makes room in its own maps; only the agent's may refuse an entry.
        const bool makes_room = map.type == "lru_hash" || map.type == "array" || map.type == "percpu_array";
        if (map.counted && !makes_room && map.capacity > 0 &&
            static_cast<double>(map.entries) >= kMapPressure * static_cast<double>(map.capacity)) {
            out.add_problems(
                fmt::format("map {} is nearly full: {} of {} entries", map.name, map.entries, map.capacity));
        }
    }
    out.set_drift_entries(drift);
}

void add_mesh(StatusResponse& out, const MeshHealth& mesh) {
    auto& to = *out.mutable_mutual_tls();
    to.set_tier(mesh.tier);
    to.set_reason(mesh.reason);
    to.set_resumed(mesh.resumed);
    to.set_carried(mesh.connections.size());
    for (const auto& [side, value] : mesh.revoked) {
        to.set_revoked(to.revoked() + value);
    }
    for (const auto& count : mesh.opened) {
        to.set_opened(to.opened() + count.value);
    }
    for (const auto& count : mesh.failed) {
        auto& failure = *to.add_failures();
        failure.set_side(count.side);
        failure.set_reason(count.word);
        failure.set_value(count.value);
    }
    for (const auto& certificate : mesh.certificates) {
        *to.add_certificates() = describe(certificate);
        if (certificate.phase != "valid") {
            out.add_problems(fmt::format("certificate of {} is {}{}{}", certificate.id, certificate.phase,
                                         certificate.error.empty() ? "" : ": ", certificate.error));
        }
    }
    for (const auto& trouble : mesh.troubles) {
        out.add_problems(trouble);
    }
}

} // namespace

StatusResponse answer_status(const AgentView& view, const telemetry::FlowRing& ring) {
    StatusResponse out;
    const auto health = view.health();
    const auto desired = view.desired();
    const auto snapshot = view.snapshot();
    out.set_version(WEFT_VERSION);
    out.set_node_name(health.node_name);
    out.set_uptime_seconds(seconds_since(health.started));
    out.set_source(health.source);
    out.set_synced(health.synced);
    out.set_sync_age_seconds(health.synced ? seconds_since(health.last_sync) : 0);
    out.set_snapshot_version(desired->snapshot_version);
    out.set_policy_revision(health.policy_revision);
    out.set_probe(static_cast<StatusResponse::Probe>(health.probe));
    out.set_probe_detail(health.probe_detail);
    out.mutable_hooks()->Assign(health.hooks.begin(), health.hooks.end());
    out.set_cgroup_path(health.cgroup_path);
    out.set_pin_dir(health.pin_dir);
    out.set_services(desired->services.size());
    out.set_endpoints(desired->policy ? desired->policy->endpoints.size() : 0);
    out.set_policies(snapshot->policies->size());
    out.set_identities(desired->names ? desired->names->identities.size() : 0);

    if (!health.synced) {
        out.add_problems("not synced yet: no complete state was written to the kernel");
    } else if (out.sync_age_seconds() > kStaleSyncSeconds) {
        out.add_problems(
            fmt::format("the kernel's maps were last brought up to date {:.0f} s ago", out.sync_age_seconds()));
    }
    if (const auto mesh = view.mesh(); mesh) {
        add_mesh(out, *mesh);
    }
    if (health.probe == HookProbe::kFailed) {
        out.add_problems(fmt::format("the live connect probe failed: {}", health.probe_detail));
    }
    for (const auto& refusal : *snapshot->refusals) {
        add_refusal(out, refusal);
    }
    for (const auto& refusal : desired->refusals) {
        add_refusal(out, refusal);
    }
    if (!out.refusals().empty()) {
        out.add_problems(fmt::format("{} object{} refused", out.refusals_size(), out.refusals_size() == 1 ? "" : "s"));
    }
    for (const auto& failure : health.failures) {
        auto& to = *out.add_failures();
        to.set_object(failure.object);
        to.set_map(failure.map);
        to.set_message(failure.message);
        out.add_problems(fmt::format("{} is not in {}: {}", failure.object, failure.map, failure.message));
    }
    if (const auto counters = view.counters()) {
        add_counters(out, *counters);
    } else {
        out.add_problems(fmt::format("counters are not readable: {}", counters.error().message()));
    }
    if (const auto maps = view.maps()) {
        add_maps(out, *maps);
    } else {
        out.add_problems(fmt::format("maps are not readable: {}", maps.error().message()));
    }
    const auto stats = ring.stats();
    out.set_flows_kept(stats.kept);
    out.set_flows_seen(stats.seen);
    return out;
}

CheckResponse answer_check() {
    CheckResponse out;
    out.set_kernel(kernel_release());
    for (const auto& feature : probe_kernel()) {
        auto& to = *out.add_features();
        to.set_name(feature.name);
        to.set_state(static_cast<Feature::State>(feature.state));
        to.set_detail(feature.detail);
        to.set_cost(feature.cost);
    }
    return out;
}

} // namespace weft::admin
