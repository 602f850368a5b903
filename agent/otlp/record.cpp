// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/otlp/record.hpp"

#include <array>
#include <bit>

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include "flow/flow.pb.h"
#include "otlp/record.pb.h"
#include "weft/base/content_hash.hpp"

namespace weft::otlp {
namespace {

using Detail = weft::observe::FlowDetail;
using google::protobuf::util::TimeUtil;

constexpr int kInfo = 9, kWarn = 13;
constexpr int kServer = 2, kClient = 3;
constexpr int kError = 2;

/// Adds attributes to a record; texts that are empty are left out, as is what is not known.
template <typename Record>
class Attributes {
public:
    explicit Attributes(Record& record) : record_(record) {}
    void text(const char* key, const std::string& value) {
        if (!value.empty()) {
            add(key).set_string_value(value);
        }
    }
    void number(const char* key, std::uint64_t value) { add(key).set_int_value(static_cast<std::int64_t>(value)); }
    void flag(const char* key, bool value) { add(key).set_bool_value(value); }

private:
    AnyValue& add(const char* key) {
        auto& one = *record_.add_attributes();
        one.set_key(key);
        return *one.mutable_value();
    }
    Record& record_;
};

struct Transport {
    const char* name = "";
    std::uint32_t source_port = 0, destination_port = 0;
};

Transport transport(const flow::Flow& flow) {
    const auto& l4 = flow.l4();
    switch (l4.protocol_case()) {
    case flow::Layer4::kTCP:
        return {"tcp", l4.tcp().source_port(), l4.tcp().destination_port()};
    case flow::Layer4::kUDP:
        return {"udp", l4.udp().source_port(), l4.udp().destination_port()};
    case flow::Layer4::kSCTP:
        return {"sctp", l4.sctp().source_port(), l4.sctp().destination_port()};
    default:
        return {};
    }
}

std::string identity(std::uint64_t id) {
    return id == 0 ? "" : id_text(id);
}

std::string policies(const flow::Flow& flow) {
    std::string out;
    for (const auto& policy :
         flow.traffic_direction() == flow::EGRESS ? flow.egress_denied_by() : flow.ingress_denied_by()) {
        out += fmt::format("{}{}/{}", out.empty() ? "" : ",", policy.namespace_(), policy.name());
    }
    return out;
}

template <typename Record>
void describe(Record& record, const flow::Flow& flow, bool denied) {
    const auto& detail = flow.weft();
    const auto l4 = transport(flow);
    const bool egress = flow.traffic_direction() == flow::EGRESS;
    Attributes<Record> out(record);
    out.text("network.transport", l4.name);
    out.text("network.type", flow.ip().ipversion() == flow::IPv6 ? "ipv6" : "ipv4");
    out.text("source.address", flow.ip().source());
    out.number("source.port", l4.source_port);
    out.text("destination.address", flow.ip().destination());
    out.number("destination.port", l4.destination_port);
    out.text("weft.reporter", egress ? "source" : "destination");
    out.text("weft.verdict", denied ? "denied" : "allowed");
    out.text("weft.reason", detail.reason());
    out.text("weft.rule", detail.rule());
    out.text("weft.isolated_by", policies(flow));
    out.text("weft.asked", detail.asked());
    out.text("weft.destination.service", detail.service());
    out.text("weft.source.namespace", flow.source().namespace_());
    out.text("weft.source.pod", flow.source().pod_name());
    out.text("weft.source.identity", identity(detail.source_identity()));
    out.text("weft.source.principal", detail.source_principal());
    out.text("weft.destination.namespace", flow.destination().namespace_());
    out.text("weft.destination.pod", flow.destination().pod_name());
    out.text("weft.destination.identity", identity(detail.destination_identity()));
    out.text("weft.destination.principal", detail.destination_principal());
    out.text("weft.connection_security_policy",
             detail.connection_security_policy().empty() ? "none" : detail.connection_security_policy());
    out.text("weft.flow.uuid", flow.uuid());
    if (denied) {
        return;
    }
    out.number("weft.duration_ns", detail.duration_ns());
    out.number("weft.bytes_sent", detail.bytes_sent());
    out.number("weft.bytes_received", detail.bytes_received());
    out.number("weft.packets_sent", detail.packets_sent());
    out.number("weft.packets_received", detail.packets_received());
    if (flow.l4().has_tcp()) {
        out.number("weft.rtt_us", detail.srtt_us());
        out.number("weft.retransmits", detail.retransmits());
        out.flag("weft.reset", detail.reset());
        out.text("weft.ended_by", detail.ended_by() == Detail::SOURCE ? "source" : "destination");
    }
}

/// SplitMix64's finalizer.
std::uint64_t mixed(std::uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ULL;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

std::string bytes_of(std::uint64_t number) {
    const auto raw = std::bit_cast<std::array<char, sizeof number>>(number | 1); // an id of zeros is none
    return {raw.begin(), raw.end()};
}

} // namespace

std::optional<Records> make_records(const flow::Flow& flow, std::int64_t observed_ns) {
    const auto& detail = flow.weft();
    const bool denied = detail.kind() == Detail::DENIED || detail.kind() == Detail::NO_BACKEND;
    if (!denied && detail.kind() != Detail::CLOSE) {
        return std::nullopt;
    }
    const bool egress = flow.traffic_direction() == flow::EGRESS;
    const auto l4 = transport(flow);
    const auto told = static_cast<std::uint64_t>(TimeUtil::TimestampToNanoseconds(flow.time()));
    const auto end = told - detail.idle_ns();
    const auto start = denied ? end : end - detail.duration_ns();
    // The uuid is unique in the cluster, so what is made of it is, too.
    const auto seed = std::hash<std::string>{}(flow.uuid()) ^ mixed(flow.socket_cookie());
    const auto trace = bytes_of(mixed(seed)) + bytes_of(mixed(seed + 1));
    const auto span_id = bytes_of(mixed(seed + 2));

    Records out;
    LogRecord log;
    log.set_time_unix_nano(end);
    log.set_observed_time_unix_nano(static_cast<std::uint64_t>(observed_ns));
    log.set_severity_number(denied ? kWarn : kInfo);
    log.set_severity_text(denied ? "WARN" : "INFO");
    log.set_event_name(denied ? "weft.connection.denied" : "weft.connection.closed");
    log.mutable_body()->set_string_value(flow.summary());
    log.set_trace_id(trace);
    log.set_span_id(span_id);
    describe(log, flow, denied);
    out.log = log.SerializeAsString();

    Span span;
    span.set_trace_id(trace);
    span.set_span_id(span_id);
    const auto& to = flow.destination();
    span.set_name(fmt::format("{} {}", l4.name,
                              !detail.service().empty() ? detail.service()
                              : to.pod_name().empty()   ? fmt::format("port {}", l4.destination_port)
                                                        : fmt::format("{}/{}", to.namespace_(), to.pod_name())));
    span.set_kind(egress ? kClient : kServer);
    span.set_start_time_unix_nano(start);
    span.set_end_time_unix_nano(end);
    describe(span, flow, denied);
    if (denied || detail.reset()) {
        span.mutable_status()->set_code(kError);
        span.mutable_status()->set_message(denied ? detail.reason() : "reset");
    }
    out.span = span.SerializeAsString();

    out.namespace_name = egress ? flow.source().namespace_() : flow.destination().namespace_();
    out.key = mixed(flow.socket_cookie() + 1);
    out.denied = denied;
    return out;
}

} // namespace weft::otlp
