// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/telemetry/traffic_names.hpp"

#include <array>
#include <initializer_list>
#include <map>
#include <string_view>

#include <fmt/format.h>

#include "weft/abi/policy.h"
#include "weft/abi/reasons.h"
#include "weft/base/spiffe_id.hpp"

namespace weft::telemetry {
namespace {

using compiler::Names;

constexpr const char* kUnknown = "unknown";
constexpr const char* kOther = "other";

/// The first of these labels that is there and not empty.
std::string first_label(const k8s::Labels& labels, std::initializer_list<const char*> keys,
                        const std::string& without) {
    for (const auto* key : keys) {
        if (const auto found = labels.find(key); found != labels.end() && !found->second.empty()) {
            return found->second;
        }
    }
    return without;
}

/// Backslash, quote and line feed, as the text format wants them; names of Kubernetes have none.
void append_escaped(std::string& out, std::string_view text) {
    for (const char c : text) {
        if (c == '\\' || c == '"') {
            out += '\\';
        }
        out += c == '\n' ? std::string_view("\\n") : std::string_view(&c, 1);
    }
}

void append_label(std::string& out, std::string_view key, std::string_view value) {
    out += out.empty() ? "" : ",";
    out += key;
    out += "=\"";
    append_escaped(out, value);
    out += '"';
}

void append_end(std::string& out, const std::string& side, const TrafficEnd& end, bool proven) {
    append_label(out, side + "_workload", end.workload);
    append_label(out, side + "_workload_namespace", end.namespace_name);
    append_label(out, side + "_principal", proven ? end.principal : kUnknown);
    append_label(out, side + "_app", end.app);
    append_label(out, side + "_version", end.version);
    append_label(out, side + "_cluster", end.cluster);
    append_label(out, side + "_canonical_service", end.canonical_service);
    append_label(out, side + "_canonical_revision", end.canonical_revision);
}

TrafficEnd end_of(const Names::Workload& pod, const std::string& trust_domain, const std::string& cluster) {
    TrafficEnd end;
    end.workload = workload_name(pod);
    end.namespace_name = pod.namespace_name;
    if (const auto id = SpiffeId::make(trust_domain, pod.namespace_name, pod.service_account)) {
        end.principal = id->to_string();
    }
    end.app = first_label(pod.labels, {"app"}, kUnknown);
    end.version = first_label(pod.labels, {"version"}, kUnknown);
    end.cluster = cluster;
    end.canonical_service =
        first_label(pod.labels, {"service.istio.io/canonical-name", "app.kubernetes.io/name", "app"}, end.workload);
    end.canonical_revision = first_label(
        pod.labels, {"service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"}, "latest");
    return end;
}

/// Two Pods of one identity have the same labels; what else differs is not known of the identity.
void merge(TrafficEnd& end, const TrafficEnd& other) {
    for (const auto member : {&TrafficEnd::workload, &TrafficEnd::principal, &TrafficEnd::canonical_service}) {
        if (end.*member != other.*member) {
            end.*member = kUnknown;
        }
    }
}

std::string without_suffix(const std::string& name, std::size_t parts) {
    std::size_t end = name.size();
    for (; parts > 0 && end != std::string::npos; --parts) {
        end = end == 0 ? std::string::npos : name.rfind('-', end - 1);
    }
    return end == std::string::npos || end == 0 ? name : name.substr(0, end);
}

} // namespace

std::string workload_name(const Names::Workload& pod) {
    if (const auto job = first_label(pod.labels, {"batch.kubernetes.io/job-name", "job-name"}, ""); !job.empty()) {
        return job;
    }
    if (pod.labels.contains("pod-template-hash")) { // DEPLOYMENT-HASH-RANDOM
        return without_suffix(pod.pod_name, 2);
    }
    if (pod.labels.contains("statefulset.kubernetes.io/pod-name") || pod.labels.contains("controller-revision-hash")) {
        return without_suffix(pod.pod_name, 1); // STATEFULSET-INDEX, DAEMONSET-RANDOM
    }
    return first_label(pod.labels, {"app.kubernetes.io/name", "app"}, pod.pod_name);
}

CurrentIdentities::CurrentIdentities(const compiler::DesiredState& desired) : desired_(desired) {
    if (desired.policy) {
        for (const auto& [netns, endpoint] : desired.policy->endpoints) {
            local_.insert(endpoint.identity);
        }
    }
}

bool CurrentIdentities::holds(const weft_traffic_key& key) const {
    const bool peer =
        key.peer < WEFT_IDENTITY_FIRST || (desired_.names && desired_.names->identities.contains(key.peer));
    return peer && runs_here(key.workload);
}

TrafficNames::TrafficNames(std::string trust_domain, std::string cluster)
    : trust_domain_(std::move(trust_domain)), cluster_(std::move(cluster)) {}

void TrafficNames::learn(const compiler::DesiredState& desired, const std::vector<bpf::Traffic>& all) {
    std::unordered_set<std::uint64_t> identities, services;
    for (const auto& one : all) {
        identities.insert({one.key.workload, one.key.peer});
        services.insert(one.key.service);
    }
    std::unordered_map<std::uint64_t, TrafficEnd> fresh;
    if (desired.names) {
        for (const auto& [id, pod] : desired.names->workloads) {
            if (pod->identity < WEFT_IDENTITY_FIRST || !identities.contains(pod->identity)) {
                continue;
            }
            auto end = end_of(*pod, trust_domain_, cluster_);
            if (const auto [known, first] = fresh.try_emplace(pod->identity, end); !first) {
                merge(known->second, end);
            }
        }
    }
    std::erase_if(ends_, [&](const auto& entry) { return !identities.contains(entry.first); });
    for (auto& [id, end] : fresh) {
        ends_.insert_or_assign(id, std::move(end));
    }
    std::erase_if(services_, [&](const auto& entry) { return !services.contains(entry.first); });
    for (const auto id : services) {
        if (const auto found = desired.services.find(id); found != desired.services.end()) {
            services_.insert_or_assign(id, Service{found->second->name, found->second->namespace_name});
        }
    }
}

std::string TrafficNames::labels(const weft_traffic_key& key) const {
    static const TrafficEnd kStranger;
    static const TrafficEnd kOthers{.workload = kOther,
                                    .namespace_name = kOther,
                                    .app = kOther,
                                    .version = kOther,
                                    .canonical_service = kOther,
                                    .canonical_revision = kOther,
                                    .cluster = kOther};
    const auto end = [&](std::uint64_t identity) -> const TrafficEnd& {
        if (identity == WEFT_TRAFFIC_OTHER) {
            return kOthers;
        }
        const auto found = ends_.find(identity);
        return found == ends_.end() ? kStranger : found->second;
    };
    const bool egress = key.direction == WEFT_EGRESS;
    const bool proven = key.mutual_tls != 0;
    std::string out;
    out.reserve(1200);
    append_label(out, "reporter", egress ? "source" : "destination");
    append_end(out, "source", end(egress ? key.workload : key.peer), proven);
    append_end(out, "destination", end(egress ? key.peer : key.workload), proven);
    const auto service = services_.find(key.service);
    const bool named = service != services_.end();
    const auto* without = egress && key.peer == WEFT_TRAFFIC_OTHER ? kOther : kUnknown;
    append_label(out, "destination_service",
                 named ? fmt::format("{}.{}.svc.cluster.local", service->second.name, service->second.namespace_name)
                       : without);
    append_label(out, "destination_service_name", named ? service->second.name : without);
    append_label(out, "destination_service_namespace", named ? service->second.namespace_name : without);
    append_label(out, "request_protocol", "tcp");
    append_label(out, "response_flags", "-");
    append_label(out, "connection_security_policy", proven ? "mutual_tls" : "none");
    return out;
}

void TrafficNames::print(const std::vector<bpf::Traffic>& all, std::string& page) const {
    struct Family {
        const char *name, *help;
        __u64 weft_traffic::* value;
    };
    static constexpr std::array kFamilies{
        Family{"istio_tcp_connections_opened_total", "Connections that workloads opened or accepted, by peer.",
               &weft_traffic::opened},
        Family{"istio_tcp_connections_closed_total", "Those of istio_tcp_connections_opened_total that ended.",
               &weft_traffic::closed},
        Family{"istio_tcp_sent_bytes_total", "Payload bytes to the client, of connections that ended.",
               &weft_traffic::sent},
        Family{"istio_tcp_received_bytes_total", "Payload bytes from the client, of connections that ended.",
               &weft_traffic::received},
    };
    std::map<std::string, weft_traffic> series;
    for (const auto& one : all) {
        auto& sum = series[labels(one.key)];
        sum.opened += one.sum.opened;
        sum.closed += one.sum.closed;
        // Istio counts from the server's side, whoever reports: sent is response, received is request.
        const bool egress = one.key.direction == WEFT_EGRESS;
        sum.sent += egress ? one.sum.received : one.sum.sent;
        sum.received += egress ? one.sum.sent : one.sum.received;
    }
    for (const auto& family : kFamilies) {
        fmt::format_to(std::back_inserter(page), "# HELP {0} {1}\n# TYPE {0} counter\n", family.name, family.help);
        for (const auto& [text, sum] : series) {
            page.append(family.name).append("{").append(text).append("} ");
            fmt::format_to(std::back_inserter(page), "{}\n", sum.*family.value);
        }
    }
}

} // namespace weft::telemetry
