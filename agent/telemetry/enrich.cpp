// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// From a kernel event to a flow: who opened it, who was to receive it, by which rule, and one line of text.
#include "agent/telemetry/enrich.hpp"

#include <netinet/in.h>

#include <ctime>

#include <fmt/format.h>

#include "agent/telemetry/reasons.hpp"
#include "flow/flow.pb.h"
#include "weft/abi/policy.h"
#include "weft/base/content_hash.hpp"
#include "weft/base/spiffe_id.hpp"

namespace weft::telemetry {
namespace {

using compiler::Names;

// Cilium's numbers of what Hubble's clients know by name.
constexpr std::uint32_t kHubbleHost = 1;
constexpr std::uint32_t kHubbleWorld = 2;
constexpr std::uint32_t kHubbleRemoteNode = 6;
constexpr int kHubbleDropEvent = 1;
constexpr int kHubbleTraceEvent = 4;

std::uint32_t hubble_identity(std::uint64_t identity) {
    switch (identity) {
    case WEFT_IDENTITY_HOST:
        return kHubbleHost;
    case WEFT_IDENTITY_REMOTE_NODE:
        return kHubbleRemoteNode;
    case WEFT_IDENTITY_WORLD:
        return kHubbleWorld;
    default:
        return static_cast<std::uint32_t>(identity);
    }
}

flow::DropReason hubble_reason(std::uint8_t reason) {
    switch (reason) {
    case WEFT_REASON_POLICY_DENIED:
        return flow::POLICY_DENIED;
    case WEFT_REASON_NO_BACKEND:
    case WEFT_REASON_SLOT_MISSING:
        return flow::SERVICE_BACKEND_NOT_FOUND;
    case WEFT_REASON_SPOOFED_SOURCE:
        return flow::INVALID_SOURCE_IP;
    case WEFT_REASON_UNKNOWN_WORKLOAD:
        return flow::NO_MATCHING_LOCAL_CONTAINER_FOUND;
    case WEFT_REASON_UNPARSABLE:
        return flow::INVALID_PACKET_DROPPED;
    case WEFT_REASON_STORAGE_FAILED:
    case WEFT_REASON_UDP_NAT_FULL:
    case WEFT_REASON_UDP_TRACK_FULL:
        return flow::CT_MAP_INSERTION_FAILED;
    case WEFT_REASON_CONFIG_MISSING:
        return flow::NO_CONFIGURATION_AVAILABLE_TO_PERFORM_POLICY_DECISION;
    default:
        return flow::DROP_REASON_UNKNOWN;
    }
}

const Names::Workload* find_workload(const EnrichContext& context, std::uint64_t id, const weft_addr& addr) {
    const auto* names = context.desired->names.get();
    if (names == nullptr) {
        return nullptr;
    }
    if (const auto found = names->workloads.find(id); id != 0 && found != names->workloads.end()) {
        return found->second.get();
    }
    const auto found = names->workload_by_ip.find(Ip(addr));
    return found == names->workload_by_ip.end() ? nullptr : found->second.get();
}

std::uint64_t identity_of(const EnrichContext& context, const Names::Workload* workload, const weft_addr& addr) {
    if (workload != nullptr && workload->identity != 0) {
        return workload->identity;
    }
    if (const auto* image = context.desired->policy.get(); image != nullptr) {
        if (const auto found = image->ipcache.find(addr); found != image->ipcache.end()) {
            return found->second.identity;
        }
        // The longest prefix that holds the address, as the kernel's trie finds it.
        const weft_peer* best = nullptr;
        std::uint32_t best_bits = 0;
        for (const auto& [key, peer] : image->cidrs) {
            std::uint32_t same = 0;
            const auto* a = reinterpret_cast<const unsigned char*>(&addr);
            const auto* b = reinterpret_cast<const unsigned char*>(&key.addr);
            while (same < key.prefix_bits && ((a[same / 8] ^ b[same / 8]) & (0x80u >> (same % 8))) == 0) {
                ++same;
            }
            if (same == key.prefix_bits && (best == nullptr || key.prefix_bits >= best_bits)) {
                best = &peer;
                best_bits = key.prefix_bits;
            }
        }
        if (best != nullptr) {
            return best->identity;
        }
    }
    return WEFT_IDENTITY_WORLD;
}

void describe(flow::Endpoint& out, const Names::Workload* workload, std::uint64_t identity) {
    out.set_identity(hubble_identity(identity));
    if (workload == nullptr) {
        switch (identity) {
        case WEFT_IDENTITY_HOST:
            out.add_labels("reserved:host");
            break;
        case WEFT_IDENTITY_REMOTE_NODE:
            out.add_labels("reserved:remote-node");
            break;
        default: // a prefix that some policy names is still outside the cluster
            out.add_labels("reserved:world");
        }
        return;
    }
    out.set_namespace_(workload->namespace_name);
    out.set_pod_name(workload->pod_name);
    for (const auto& [key, value] : workload->labels) {
        out.add_labels(fmt::format("k8s:{}={}", key, value));
    }
    out.add_labels(fmt::format("k8s:io.kubernetes.pod.namespace={}", workload->namespace_name));
    auto& owner = *out.add_workloads();
    owner.set_name(workload->pod_name);
    owner.set_kind("Pod");
}

/// What the handshake of a connection between enrolled workloads has proven: it accepts no other identity of a Pod.
std::string principal(const Names::Workload* workload, const EnrichContext& context) {
    if (workload == nullptr) {
        return "";
    }
    const auto id = SpiffeId::make(context.trust_domain, workload->namespace_name, workload->service_account);
    return id ? id->to_string() : "";
}

std::string end_text(const flow::Endpoint& end, const weft_addr_port& at) {
    if (!end.pod_name().empty()) {
        return fmt::format("{}/{}:{}", end.namespace_(), end.pod_name(), at.port);
    }
    const Ip ip(at.addr);
    return ip.is_v4() ? fmt::format("{}:{}", ip.to_string(), at.port) : fmt::format("[{}]:{}", ip.to_string(), at.port);
}

void set_ports(flow::Flow& out, const weft_event& event, const weft_addr_port& source,
               const weft_addr_port& destination) {
    auto set = [&](auto& l4) {
        l4.set_source_port(source.port);
        l4.set_destination_port(destination.port);
    };
    switch (event.local.proto) {
    case IPPROTO_TCP: {
        auto& tcp = *out.mutable_l4()->mutable_tcp();
        set(tcp);
        const bool reset = (event.flags & WEFT_EVENT_RESET) != 0;
        tcp.mutable_flags()->set_syn(event.kind != WEFT_EVENT_CLOSE);
        tcp.mutable_flags()->set_rst(reset);
        tcp.mutable_flags()->set_fin(event.kind == WEFT_EVENT_CLOSE && !reset);
        break;
    }
    case IPPROTO_UDP:
        set(*out.mutable_l4()->mutable_udp());
        break;
    case IPPROTO_SCTP:
        set(*out.mutable_l4()->mutable_sctp());
        break;
    default:
        break; // no ports to tell
    }
}

void add_policy(flow::Policy& out, const std::string& full_name, std::uint64_t revision) {
    const auto slash = full_name.find('/');
    out.set_namespace_(slash == std::string::npos ? "" : full_name.substr(0, slash));
    out.set_name(slash == std::string::npos ? full_name : full_name.substr(slash + 1));
    out.set_kind("NetworkPolicy");
    out.set_revision(revision);
}

// Who allowed it, or whose isolation denied it.
void add_policies(flow::Flow& out, const weft_event& event, const EnrichContext& context) {
    const auto* names = context.desired->names.get();
    if (names == nullptr) {
        return;
    }
    const bool egress = event.direction == WEFT_EGRESS;
    if (const auto rule = names->rules.find(event.rule); event.rule != 0 && rule != names->rules.end()) {
        out.mutable_weft()->set_rule(rule->second.text);
        auto& policy = egress ? *out.add_egress_allowed_by() : *out.add_ingress_allowed_by();
        add_policy(policy, rule->second.policy, context.policy_revision);
        return;
    }
    if (event.reason != WEFT_REASON_POLICY_DENIED || context.desired->policy == nullptr) {
        return;
    }
    const auto endpoint = context.desired->policy->endpoints.find(event.netns);
    if (endpoint == context.desired->policy->endpoints.end()) {
        return;
    }
    if (const auto policies = names->policies.find(endpoint->second.policy); policies != names->policies.end()) {
        for (const auto& name : policies->second.selected_by) {
            auto& policy = egress ? *out.add_egress_denied_by() : *out.add_ingress_denied_by();
            add_policy(policy, name, context.policy_revision);
        }
    }
}

void add_service(flow::Flow& out, const weft_event& event, const EnrichContext& context) {
    if (event.service == 0) {
        return;
    }
    const auto found = context.desired->services.find(event.service);
    if (found == context.desired->services.end()) {
        out.mutable_weft()->set_service(id_text(event.service));
        return;
    }
    const auto& service = *found->second;
    out.mutable_destination_service()->set_name(service.name);
    out.mutable_destination_service()->set_namespace_(service.namespace_name);
    out.mutable_weft()->set_service(
        fmt::format("{}/{}:{}", service.namespace_name, service.name,
                    service.port_name.empty() ? std::to_string(event.asked.port) : service.port_name));
}

void add_detail(flow::Flow& out, const weft_event& event) {
    auto& detail = *out.mutable_weft();
    detail.set_kind(event.kind < WEFT_EVENT_KIND_COUNT ? static_cast<weft::observe::FlowDetail::Kind>(event.kind)
                                                       : weft::observe::FlowDetail::KIND_UNKNOWN);
    detail.set_rule_id(event.rule);
    const auto asked = to_string(event.asked);
    detail.set_asked(asked.substr(asked.find(' ') + 1));
    detail.set_duration_ns(event.duration_ns);
    detail.set_bytes_sent(event.bytes_sent);
    detail.set_bytes_received(event.bytes_received);
    detail.set_packets_sent(event.packets_sent);
    detail.set_packets_received(event.packets_received);
    detail.set_idle_ns(event.idle_ns);
    detail.set_srtt_us(event.srtt_us);
    detail.set_retransmits(event.retransmits);
    detail.set_reset(event.flags & WEFT_EVENT_RESET);
    if (event.kind == WEFT_EVENT_CLOSE && event.local.proto == IPPROTO_TCP) {
        const bool local = (event.flags & WEFT_EVENT_LOCAL_END) != 0;
        detail.set_ended_by(local == (event.direction == WEFT_EGRESS) ? weft::observe::FlowDetail::SOURCE
                                                                      : weft::observe::FlowDetail::DESTINATION);
    }
    detail.set_packet_level(event.flags & WEFT_EVENT_PACKET);
}

std::string summary(const flow::Flow& out, const weft_event& event, const weft_addr_port& from,
                    const weft_addr_port& to) {
    const auto& detail = out.weft();
    std::string text = fmt::format("{} {} -> {}", protocol_name(event.local.proto), end_text(out.source(), from),
                                   end_text(out.destination(), to));
    const bool udp = event.local.proto == IPPROTO_UDP;
    switch (event.kind) {
    case WEFT_EVENT_CONNECT:
        text += udp ? " began" : " connected";
        break;
    case WEFT_EVENT_ACCEPT:
        text += udp ? " began" : " accepted";
        break;
    case WEFT_EVENT_CLOSE:
        text += fmt::format(" {}, {} bytes sent, {} received",
                            detail.reset() ? "reset"
                            : udp          ? "fell silent"
                                           : "closed",
                            event.bytes_sent, event.bytes_received);
        break;
    case WEFT_EVENT_DENIED:
        text += " denied";
        break;
    case WEFT_EVENT_NO_BACKEND:
        text += " refused";
        break;
    default:
        text += fmt::format(" event {}", event.kind);
    }
    if (!detail.service().empty()) {
        text += fmt::format(" via {}", detail.service());
    }
    if (!detail.rule().empty()) {
        text += fmt::format(" by {}", detail.rule());
    }
    if (!detail.reason().empty()) {
        text += fmt::format(": {} ({})", detail.reason(), reason_help(event.reason));
    }
    return text;
}

} // namespace

std::int64_t wall_clock_offset_ns() {
    timespec wall{}, monotonic{};
    (void)::clock_gettime(CLOCK_REALTIME, &wall);       // both clocks always exist on Linux
    (void)::clock_gettime(CLOCK_MONOTONIC, &monotonic);
    return (wall.tv_sec - monotonic.tv_sec) * 1'000'000'000 + (wall.tv_nsec - monotonic.tv_nsec);
}

flow::Flow enrich(const weft_event& event, const EnrichContext& context) {
    flow::Flow out;
    const auto at = static_cast<std::int64_t>(event.time_ns) + context.wall_offset_ns;
    out.mutable_time()->set_seconds(at / 1'000'000'000);
    out.mutable_time()->set_nanos(static_cast<std::int32_t>(at % 1'000'000'000));
    out.set_uuid(fmt::format("{:016x}-{:016x}-{:x}", context.boot_id, event.time_ns, event.cookie));
    out.set_node_name(context.node_name);
    out.set_type(flow::L3_L4);
    out.set_socket_cookie(event.cookie);
    out.set_traffic_direction(event.direction == WEFT_EGRESS ? flow::EGRESS : flow::INGRESS);

    // `local` is the reporting workload's end: the source when it opened the connection.
    const bool egress = event.direction == WEFT_EGRESS;
    const bool nowhere = event.kind == WEFT_EVENT_NO_BACKEND; // no backend was chosen: the target is what was asked for
    const auto& far = nowhere ? event.asked : event.remote;
    const auto& from = egress ? event.local : far;
    const auto& to = egress ? far : event.local;
    const auto* own = find_workload(context, event.workload, event.local.addr);
    const auto* peer = find_workload(context, 0, far.addr);
    const auto* source = egress ? own : peer;
    const auto* destination = egress ? peer : own;
    const auto source_identity = identity_of(context, source, from.addr);
    const auto destination_identity = identity_of(context, destination, to.addr);
    describe(*out.mutable_source(), source, source_identity);
    describe(*out.mutable_destination(), destination, destination_identity);
    out.mutable_weft()->set_source_identity(source_identity);
    out.mutable_weft()->set_destination_identity(destination_identity);

    auto& ip = *out.mutable_ip();
    ip.set_source(Ip(from.addr).to_string());
    ip.set_destination(Ip(to.addr).to_string());
    ip.set_ipversion(Ip(to.addr).is_v4() ? flow::IPv4 : flow::IPv6);
    set_ports(out, event, from, to);

    const bool dropped = event.kind == WEFT_EVENT_DENIED || event.kind == WEFT_EVENT_NO_BACKEND;
    out.set_verdict(dropped ? flow::DROPPED : flow::FORWARDED);
    out.mutable_event_type()->set_type(dropped ? kHubbleDropEvent : kHubbleTraceEvent);
    if (dropped) {
        const auto reason = hubble_reason(event.reason);
        out.set_drop_reason_desc(reason);
        out.set_drop_reason(static_cast<std::uint32_t>(reason));
        out.mutable_event_type()->set_sub_type(reason);
        out.mutable_weft()->set_reason(std::string(reason_label(event.reason)));
    }
    if ((event.flags & WEFT_EVENT_MUTUAL_TLS) != 0) {
        ip.set_encrypted(true);
        out.mutable_weft()->set_connection_security_policy("mutual_tls");
        out.mutable_weft()->set_source_principal(principal(source, context));
        out.mutable_weft()->set_destination_principal(principal(destination, context));
    }
    add_detail(out, event);
    add_service(out, event, context);
    add_policies(out, event, context);
    out.set_summary(summary(out, event, from, to));
    return out;
}

} // namespace weft::telemetry
