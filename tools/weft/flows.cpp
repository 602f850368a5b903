// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft flows`: what happened and what happens now, filtered by the agent. Options are named as in `hubble observe`.
#include <algorithm>
#include <charconv>
#include <ctime>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/util/time_util.h>

#include "tools/weft/client.hpp"
#include "tools/weft/flow_line.hpp"
#include "tools/weft/flow_reasons.hpp"
#include "tools/weft/page.hpp"

namespace weft::cli {
namespace {

constexpr std::uint64_t kDefaultLast = 20;

enum class FlowFormat { kCompact, kTable, kJson };

struct Options {
    bool follow = false, first = false;
    std::uint64_t last = 0;
    std::string since, until, namespace_name;
    std::vector<std::string> pods, from_pods, to_pods, from_ips, to_ips, ips, verdicts, protocols, services;
    std::vector<std::string> reasons, identities;
    std::vector<std::uint16_t> ports, from_ports, to_ports;
    FlowFormat format = FlowFormat::kCompact;
};

using Filters = std::vector<flow::FlowFilter>;

// "90s", "5m", "2h", "1d" ago, or a time as RFC 3339 writes it.
google::protobuf::Timestamp parse_time(const char* option, const std::string& text) {
    long long count = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error == std::errc{} && end + 1 == text.data() + text.size() && count >= 0) {
        const long long unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 0;
        if (unit != 0) {
            return google::protobuf::util::TimeUtil::SecondsToTimestamp(std::time(nullptr) - count * unit);
        }
    }
    google::protobuf::Timestamp out;
    if (!google::protobuf::util::TimeUtil::FromString(text, &out)) {
        fail(kUsage, fmt::format("{}: '{}' is neither a span such as 5m nor a time such as 2026-01-31T10:00:00Z",
                                 option, text));
    }
    return out;
}

flow::Verdict parse_verdict(const std::string& text) {
    std::string upper = text;
    for (auto& c : upper) {
        c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    if (upper == "ALLOWED" || upper == "FORWARDED") {
        return flow::FORWARDED;
    }
    if (upper == "DENIED" || upper == "DROPPED" || upper == "REFUSED") {
        return flow::DROPPED;
    }
    fail(kUsage, fmt::format("--verdict: '{}' is none of FORWARDED (or ALLOWED), DROPPED (or DENIED)", text));
}

// A number as `weft identity list` prints it, or a SPIFFE ID.
void add_identity(flow::FlowFilter& filter, const std::string& text) {
    if (text.starts_with("spiffe://")) {
        filter.mutable_weft()->add_principal(text);
        return;
    }
    const bool hex = text.starts_with("0x");
    const std::string_view digits = std::string_view(text).substr(hex ? 2 : 0);
    for (const int base : {10, 16}) { // identities are printed as 16 hex digits, Hubble's as decimal numbers
        std::uint64_t number = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
        const bool whole = error == std::errc{} && end == digits.data() + digits.size();
        if (whole && (base == 16) == (hex || digits.size() == 16)) {
            filter.mutable_weft()->add_identity(number);
            return;
        }
    }
    fail(kUsage, fmt::format("--identity: '{}' is neither a number as `weft identity list` prints it, nor a decimal "
                             "number, nor spiffe://...",
                             text));
}

// "either end": each filter becomes two, one for each end.
template <typename Values, typename Source, typename Destination>
void either(Filters& filters, const Values& values, Source source, Destination destination) {
    if (values.empty()) {
        return;
    }
    Filters out;
    for (const auto& filter : filters) {
        for (const bool at_source : {true, false}) {
            auto copy = filter;
            for (const auto& value : values) {
                at_source ? source(copy, value) : destination(copy, value);
            }
            out.push_back(std::move(copy));
        }
    }
    filters = std::move(out);
}

observer::GetFlowsRequest make_request(const Options& o) {
    auto qualified = [&](const std::string& pod) {
        return pod.find('/') == std::string::npos && !o.namespace_name.empty() ? o.namespace_name + "/" + pod : pod;
    };
    flow::FlowFilter base;
    for (const auto& pod : o.from_pods) {
        base.add_source_pod(qualified(pod));
    }
    for (const auto& pod : o.to_pods) {
        base.add_destination_pod(qualified(pod));
    }
    for (const auto& service : o.services) {
        base.add_destination_service(qualified(service));
    }
    for (const auto& ip : o.from_ips) {
        base.add_source_ip(ip);
    }
    for (const auto& ip : o.to_ips) {
        base.add_destination_ip(ip);
    }
    for (const auto port : o.from_ports) {
        base.add_source_port(std::to_string(port));
    }
    for (const auto port : o.to_ports) {
        base.add_destination_port(std::to_string(port));
    }
    for (const auto& verdict : o.verdicts) {
        base.add_verdict(parse_verdict(verdict));
    }
    for (const auto& reason : o.reasons) {
        if (!flow_reasons().contains(reason)) {
            fail(kUsage,
                 fmt::format("--reason: no flow has '{}'; known are {}", reason, fmt::join(flow_reasons(), ", ")));
        }
        base.mutable_weft()->add_reason(reason);
    }
    for (const auto& identity : o.identities) {
        add_identity(base, identity);
    }
    base.mutable_protocol()->Assign(o.protocols.begin(), o.protocols.end());

    Filters filters{base};
    auto pods = o.pods;
    std::ranges::transform(pods, pods.begin(), qualified);
    if (pods.empty() && o.from_pods.empty() && o.to_pods.empty() && o.services.empty() && !o.namespace_name.empty()) {
        pods.push_back(o.namespace_name + "/");
    }
    either(
        filters, pods, [](auto& f, const auto& v) { f.add_source_pod(v); },
        [](auto& f, const auto& v) { f.add_destination_pod(v); });
    either(
        filters, o.ips, [](auto& f, const auto& v) { f.add_source_ip(v); },
        [](auto& f, const auto& v) { f.add_destination_ip(v); });
    either(
        filters, o.ports, [](auto& f, auto v) { f.add_source_port(std::to_string(v)); },
        [](auto& f, auto v) { f.add_destination_port(std::to_string(v)); });

    observer::GetFlowsRequest request;
    for (auto& filter : filters) {
        if (filter.ByteSizeLong() > 0) {
            *request.add_whitelist() = std::move(filter);
        }
    }
    request.set_follow(o.follow);
    request.set_first(o.first);
    if (!o.since.empty()) {
        *request.mutable_since() = parse_time("--since", o.since);
    }
    if (!o.until.empty()) {
        *request.mutable_until() = parse_time("--until", o.until);
    }
    request.set_number(o.last > 0 ? o.last : o.follow || !o.since.empty() || !o.until.empty() ? 0 : kDefaultLast);
    return request;
}

void run(const Globals& globals, const Options& options) {
    const auto request = make_request(options);
    auto client = value_or_fail(Client::connect(globals.socket));
    // A table needs all rows to know its widths; following has no last row.
    const bool as_table = options.format == FlowFormat::kTable && !options.follow;
    Table table({"TIMESTAMP", "SOURCE", "DESTINATION", "PROTOCOL", "VERDICT", "DETAIL"}, {}, false);
    value_or_fail(client.flows(request, [&](const observer::GetFlowsResponse& response) {
        if (options.format == FlowFormat::kJson) {
            fmt::print("{}\n", to_json_line(response));
        } else if (response.has_lost_events()) {
            fmt::print(stderr, "weft: {}\n", lost_line(response.lost_events()));
        } else if (as_table) {
            table.add(flow_cells(response.flow()));
        } else {
            fmt::print("{}\n", flow_line(response.flow()));
        }
        if (options.follow) {
            (void)std::fflush(stdout); // a reader that went away ends us by SIGPIPE
        }
    }));
    if (as_table) {
        fmt::print("{}", table_or_nothing(table, globals, "flows"));
    }
}

} // namespace

void add_flows_command(CLI::App& weft, Globals& globals) {
    auto* command = weft.add_subcommand("flows", "Connections as they are opened, accepted, closed, denied")
                        ->alias("observe")
                        ->group("Observe");
    auto o = std::make_shared<Options>();
    command->add_flag("-f,--follow", o->follow, "Go on with new flows until interrupted");
    command->add_option("--last", o->last, fmt::format("The newest N flows (default {})", kDefaultLast))
        ->option_text("N");
    command->add_flag("--first", o->first, "With --last N: the oldest N instead");
    command->add_option("--since", o->since, "Not older than: 90s, 5m, 2h, or 2026-01-31T10:00:00Z")
        ->option_text("TIME");
    command->add_option("--until", o->until, "Not newer than")->option_text("TIME");
    command
        ->add_option("-n,--namespace", o->namespace_name,
                     "From or to this namespace; with a pod option, the namespace of its pods")
        ->option_text("NAMESPACE");
    auto* pod = command->add_option("--pod", o->pods, "From or to pods whose name begins so")->option_text("[NS/]POD");
    command->add_option("--from-pod", o->from_pods, "Opened by pods whose name begins so")
        ->option_text("[NS/]POD")
        ->excludes(pod);
    command->add_option("--to-pod", o->to_pods, "To pods whose name begins so")->option_text("[NS/]POD")->excludes(pod);
    command->add_option("--to-service", o->services, "Through this Service")->option_text("[NS/]NAME");
    auto* ip = command->add_option("--ip", o->ips, "From or to this address or prefix")->option_text("IP");
    command->add_option("--from-ip", o->from_ips, "From this address or prefix")->option_text("IP")->excludes(ip);
    command->add_option("--to-ip", o->to_ips, "To this address or prefix")->option_text("IP")->excludes(ip);
    auto* port = command->add_option("--port", o->ports, "From or to this port")->option_text("PORT");
    command->add_option("--from-port", o->from_ports, "From this port")->option_text("PORT")->excludes(port);
    command->add_option("--to-port", o->to_ports, "To this port")->option_text("PORT")->excludes(port);
    command->add_option("--verdict", o->verdicts, "FORWARDED (ALLOWED) or DROPPED (DENIED)")->option_text("VERDICT");
    command
        ->add_option("--reason", o->reasons,
                     "Why it was denied or refused, as in weft_drops_total: policy-denied, no-backend, ...")
        ->option_text("REASON");
    command
        ->add_option("--identity", o->identities,
                     "From or to this identity: a number of `weft identity list`, or spiffe://...")
        ->option_text("IDENTITY");
    command->add_option("--protocol", o->protocols, "tcp, udp or sctp")
        ->option_text("PROTOCOL")
        ->check(CLI::IsMember({"tcp", "udp", "sctp"}, CLI::ignore_case));
    static const std::map<std::string, FlowFormat> kFormats = {{"compact", FlowFormat::kCompact},
                                                               {"table", FlowFormat::kTable},
                                                               {"json", FlowFormat::kJson},
                                                               {"jsonpb", FlowFormat::kJson}};
    command
        ->add_option("-o,--output", o->format,
                     "compact, table, or json (= jsonpb: a GetFlowsResponse a line, as hubble prints)")
        ->transform(CLI::CheckedTransformer(kFormats).description(""))
        ->option_text("FORMAT");
    command->add_flag("--no-headers", globals.no_headers, "Leave out the line of column names");
    command->footer(
        "A flow: TIME SOURCE \u2192 DESTINATION PROTOCOL [mtls] OUTCOME DETAIL, where mtls says that its "
        "bytes cross the\n"
        "wire by mutual TLS, and OUTCOME is ALLOWED (connect), ACCEPTED, CLOSED, RESET, ENDED (UDP), DENIED (by policy "
        "or a full map)\n"
        "or REFUSED (no backend).\n"
        "Options that are given several times mean any of the values.");
    command->callback([&globals, o] { run(globals, *o); });
}

} // namespace weft::cli
