// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A flow as one line of text.
#include "tools/weft/flow_line.hpp"

#include <ctime>

#include <fmt/format.h>

#include "flow/flow.pb.h"
#include "tools/weft/table.hpp"

namespace weft::cli {
namespace {

using Detail = weft::observe::FlowDetail;

struct Transport {
    const char* name = "?";
    std::uint32_t source = 0, destination = 0;
};

Transport transport(const flow::Flow& flow) {
    const auto& l4 = flow.l4();
    switch (l4.protocol_case()) {
    case flow::Layer4::kTCP:
        return {"TCP", l4.tcp().source_port(), l4.tcp().destination_port()};
    case flow::Layer4::kUDP:
        return {"UDP", l4.udp().source_port(), l4.udp().destination_port()};
    case flow::Layer4::kSCTP:
        return {"SCTP", l4.sctp().source_port(), l4.sctp().destination_port()};
    default:
        return {};
    }
}

std::string end_text(const flow::Endpoint& end, const std::string& ip, std::uint32_t port) {
    if (!end.pod_name().empty()) {
        // A node has a name but no namespace.
        return end.namespace_().empty() ? fmt::format("{}:{}", end.pod_name(), port)
                                        : fmt::format("{}/{}:{}", end.namespace_(), end.pod_name(), port);
    }
    return ip.find(':') == std::string::npos ? fmt::format("{}:{}", ip, port) : fmt::format("[{}]:{}", ip, port);
}

std::string time_text(const flow::Flow& flow) {
    const auto seconds = static_cast<std::time_t>(flow.time().seconds());
    std::tm local{};
    ::localtime_r(&seconds, &local);
    char text[32];
    (void)std::strftime(text, sizeof text, "%b %d %H:%M:%S", &local); // the buffer holds the longest month name
    return text;
}

const char* outcome(const flow::Flow& flow) {
    switch (flow.weft().kind()) {
    case Detail::CONNECT:
        return "ALLOWED";
    case Detail::ACCEPT:
        return "ACCEPTED";
    case Detail::CLOSE:
        return flow.weft().reset() ? "RESET" : flow.l4().has_udp() ? "ENDED" : "CLOSED";
    case Detail::DENIED:
        return "DENIED";
    case Detail::NO_BACKEND:
        return "REFUSED";
    default:
        return flow.verdict() == flow::DROPPED ? "DROPPED" : "FORWARDED";
    }
}

std::string detail_text(const flow::Flow& flow) {
    const auto& detail = flow.weft();
    std::string out;
    auto add = [&](std::string text) { out += (out.empty() ? "" : " ") + std::move(text); };
    if (!detail.reason().empty()) {
        add(detail.reason());
    }
    if (detail.duration_ns() > 0) {
        add(duration_text(static_cast<double>(detail.duration_ns())));
    }
    if (detail.kind() == Detail::CLOSE) {
        add(fmt::format("sent={} received={}", bytes_text(static_cast<double>(detail.bytes_sent())),
                        bytes_text(static_cast<double>(detail.bytes_received()))));
        if (detail.packets_sent() + detail.packets_received() > 0) {
            add(fmt::format("packets={}/{}", detail.packets_sent(), detail.packets_received()));
        }
        if (detail.ended_by() != Detail::END_UNKNOWN) {
            add(detail.ended_by() == Detail::SOURCE ? "by=source" : "by=destination");
        }
        if (detail.srtt_us() > 0) {
            add("rtt=" + duration_text(1e3 * detail.srtt_us()));
        }
        if (detail.retransmits() > 0) {
            add(fmt::format("retransmits={}", detail.retransmits()));
        }
    }
    if (!detail.rule().empty()) {
        add("rule=" + detail.rule());
    }
    std::string isolated;
    for (const auto& policy :
         flow.traffic_direction() == flow::EGRESS ? flow.egress_denied_by() : flow.ingress_denied_by()) {
        isolated += fmt::format("{}{}/{}", isolated.empty() ? "" : ",", policy.namespace_(), policy.name());
    }
    if (!isolated.empty()) {
        add(fmt::format("{} isolated by {}", flow.traffic_direction() == flow::EGRESS ? "egress" : "ingress",
                        isolated));
    }
    if (!detail.service().empty()) {
        const auto colon = detail.service().find(':');
        const auto slash = detail.service().find('/');
        // "via shop/svc:api" names namespace, kind and name; the port follows when it is not the destination's.
        add(slash == std::string::npos ? "via " + detail.service()
                                       : fmt::format("via {}/svc:{} port {}", detail.service().substr(0, slash),
                                                     detail.service().substr(slash + 1, colon - slash - 1),
                                                     detail.service().substr(colon + 1)));
    }
    return out;
}

} // namespace

std::vector<std::string> flow_cells(const flow::Flow& flow) {
    const auto l4 = transport(flow);
    return {time_text(flow),
            end_text(flow.source(), flow.ip().source(), l4.source),
            end_text(flow.destination(), flow.ip().destination(), l4.destination),
            flow.weft().connection_security_policy() == "mutual_tls" ? std::string(l4.name) + " mtls" : l4.name,
            outcome(flow),
            detail_text(flow)};
}

std::string flow_line(const flow::Flow& flow) {
    const auto cells = flow_cells(flow);
    return fmt::format("{} {} \u2192 {} {} {}{}{}", cells[0], cells[1], cells[2], cells[3], cells[4],
                       cells[5].empty() ? "" : " ", cells[5]);
}

std::string lost_line(const flow::LostEvent& lost) {
    return fmt::format("{} flows lost: {}", lost.num_events_lost(),
                       lost.source() == flow::PERF_EVENT_RING_BUFFER
                           ? "the kernel produced them faster than the agent reads"
                           : "this client reads more slowly than they come");
}

} // namespace weft::cli
