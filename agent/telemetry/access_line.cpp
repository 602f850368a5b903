// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/telemetry/access_line.hpp"

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>
#include <nlohmann/json.hpp>

#include "flow/flow.pb.h"
#include "weft/base/content_hash.hpp"

namespace weft::telemetry {
namespace {

using Detail = weft::observe::FlowDetail;
using google::protobuf::util::TimeUtil;
using Json = nlohmann::ordered_json;

std::string address(const std::string& ip, std::uint32_t port) {
    return fmt::format(fmt::runtime(ip.find(':') == std::string::npos ? "{}:{}" : "[{}]:{}"), ip, port);
}

std::string start_time(const flow::Flow& flow) {
    const auto start = TimeUtil::TimestampToNanoseconds(flow.time()) -
                       static_cast<std::int64_t>(flow.weft().duration_ns() + flow.weft().idle_ns());
    constexpr std::int64_t kMillisecond = 1'000'000;
    return TimeUtil::ToString(TimeUtil::NanosecondsToTimestamp(start / kMillisecond * kMillisecond));
}

Json text_or_null(const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
}

Json identity(std::uint64_t id) {
    return id == 0 ? Json(nullptr) : Json(id_text(id)); // JSON's numbers do not hold 64 bits everywhere
}

/// Envoy's flags, as far as they say what Weft knows.
const char* response_flags(const Detail& detail) {
    if (detail.kind() == Detail::NO_BACKEND) {
        return "UH"; // no healthy upstream
    }
    if (detail.kind() == Detail::CLOSE && detail.reset()) {
        return detail.ended_by() == Detail::SOURCE ? "DC" : "UC"; // downstream's or upstream's connection termination
    }
    return "-";
}

std::string termination(const flow::Flow& flow) {
    const auto& detail = flow.weft();
    if (detail.kind() == Detail::CLOSE) {
        const char* who = detail.ended_by() == Detail::SOURCE ? "source" : "destination";
        return detail.reset() ? fmt::format("reset by {}", who) : "";
    }
    std::string out = detail.reason();
    const bool egress = flow.traffic_direction() == flow::EGRESS;
    const auto& policies = egress ? flow.egress_denied_by() : flow.ingress_denied_by();
    for (int i = 0; i < policies.size(); ++i) {
        out += fmt::format("{}{}/{}", i == 0 ? ": isolated by " : ", ", policies[i].namespace_(), policies[i].name());
    }
    return out;
}

} // namespace

std::optional<AccessLine> access_line(const flow::Flow& flow) {
    const auto& detail = flow.weft();
    const bool closed = detail.kind() == Detail::CLOSE;
    const bool denied = detail.kind() == Detail::DENIED || detail.kind() == Detail::NO_BACKEND;
    if (!closed && !denied) {
        return std::nullopt;
    }
    const bool egress = flow.traffic_direction() == flow::EGRESS;
    const bool tcp = flow.l4().has_tcp();
    const auto source_port = tcp ? flow.l4().tcp().source_port() : flow.l4().udp().source_port();
    const auto destination_port = tcp ? flow.l4().tcp().destination_port() : flow.l4().udp().destination_port();
    const auto source = address(flow.ip().source(), source_port);
    const auto destination = address(flow.ip().destination(), destination_port);
    const bool mutual_tls = detail.connection_security_policy() == "mutual_tls";
    const bool upstream = detail.kind() != Detail::NO_BACKEND;

    Json line;
    line["start_time"] = start_time(flow);
    line["duration"] = detail.duration_ns() / 1'000'000;
    // Istio counts at a proxy: received is what came from the client, sent is what went to it.
    line["bytes_received"] = egress ? detail.bytes_sent() : detail.bytes_received();
    line["bytes_sent"] = egress ? detail.bytes_received() : detail.bytes_sent();
    line["downstream_remote_address"] = source;
    line["downstream_local_address"] = text_or_null(detail.asked());
    line["upstream_host"] = upstream ? Json(destination) : Json(nullptr);
    // By mutual TLS the agent dials, from a port of its own that the hooks do not tell.
    line["upstream_local_address"] = upstream && !mutual_tls ? Json(source) : Json(nullptr);
    line["response_flags"] = response_flags(detail);
    line["connection_termination_details"] = text_or_null(termination(flow));
    line["protocol"] = tcp ? "TCP" : flow.l4().has_udp() ? "UDP" : flow.l4().has_sctp() ? "SCTP" : "?";
    line["reporter"] = egress ? "source" : "destination";
    line["verdict"] = denied ? "denied" : "allowed";
    line["reason"] = text_or_null(detail.reason());
    line["rule"] = text_or_null(detail.rule());
    line["destination_service"] = text_or_null(detail.service());
    line["source_namespace"] = text_or_null(flow.source().namespace_());
    line["source_pod"] = text_or_null(flow.source().pod_name());
    line["source_identity"] = identity(detail.source_identity());
    line["source_principal"] = text_or_null(detail.source_principal());
    line["destination_namespace"] = text_or_null(flow.destination().namespace_());
    line["destination_pod"] = text_or_null(flow.destination().pod_name());
    line["destination_identity"] = identity(detail.destination_identity());
    line["destination_principal"] = text_or_null(detail.destination_principal());
    line["connection_security_policy"] = mutual_tls ? "mutual_tls" : "none";
    if (closed) {
        line["packets_received"] = egress ? detail.packets_sent() : detail.packets_received();
        line["packets_sent"] = egress ? detail.packets_received() : detail.packets_sent();
    }
    if (closed && tcp) {
        line["ended_by"] = detail.ended_by() == Detail::SOURCE ? "source" : "destination";
        line["rtt_us"] = detail.srtt_us();
        line["retransmits"] = detail.retransmits();
    }
    line["node"] = flow.node_name();

    AccessLine out;
    out.text = line.dump(-1, ' ', false, Json::error_handler_t::replace);
    out.namespace_name = egress ? flow.source().namespace_() : flow.destination().namespace_();
    // Cookies count up: the multiplier of SplitMix64 spreads them.
    out.key = (flow.socket_cookie() + 1) * 0x9e3779b97f4a7c15ULL;
    out.key ^= out.key >> 32;
    out.denied = denied;
    return out;
}

} // namespace weft::telemetry
