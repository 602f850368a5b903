// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Hubble's flow filters. Every given field must match; of the values of one field, one.
#include "agent/telemetry/flow_filter.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <string>
#include <string_view>
#include <strings.h>
#include <vector>

#include <fnmatch.h>
#include <google/protobuf/unknown_field_set.h>

#include "flow/flow.pb.h"
#include "weft/base/ip.hpp"

namespace weft::telemetry {

using Predicate = std::function<bool(const flow::Flow&)>;

struct FlowFilter::Term {
    std::vector<Predicate> all;
    [[nodiscard]] bool matches(const flow::Flow& flow) const {
        return std::ranges::all_of(all, [&](const Predicate& one) { return one(flow); });
    }
};

namespace {

using Strings = google::protobuf::RepeatedPtrField<std::string>;

Result<std::vector<Cidr>> parse_addresses(const char* field, const Strings& values) {
    std::vector<Cidr> out;
    for (const auto& text : values) {
        auto cidr = Cidr::parse(text);
        if (!cidr) {
            const auto ip = Ip::parse(text);
            if (!ip) {
                return invalid("{}: '{}' is neither an address nor a prefix such as 10.0.0.0/8", field, text);
            }
            cidr = Cidr::host(*ip);
        }
        out.push_back(*cidr);
    }
    return out;
}

Result<std::vector<std::uint32_t>> parse_ports(const char* field, const Strings& values) {
    std::vector<std::uint32_t> out;
    for (const auto& text : values) {
        std::uint16_t port = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
        if (error != std::errc{} || end != text.data() + text.size() || port == 0) {
            return invalid("{}: '{}' is no port number (1-65535)", field, text);
        }
        out.push_back(port);
    }
    return out;
}

// "NAMESPACE/PREFIX", "NAMESPACE/", or "PREFIX" in namespace default.
bool name_matches(const std::string& pattern, const std::string& namespace_name, const std::string& name) {
    if (name.empty()) {
        return false;
    }
    const auto slash = pattern.find('/');
    const auto wanted_namespace = slash == std::string::npos ? std::string("default") : pattern.substr(0, slash);
    const auto prefix = slash == std::string::npos ? pattern : pattern.substr(slash + 1);
    return (wanted_namespace.empty() || namespace_name == wanted_namespace) && name.starts_with(prefix);
}

bool has_label(const flow::Endpoint& end, std::string_view wanted) {
    return std::ranges::any_of(end.labels(), [&](const std::string& label) {
        auto same = [&](std::string_view have) {
            return have == wanted ||
                   (wanted.find('=') == std::string_view::npos && have.substr(0, have.find('=')) == wanted);
        };
        const auto colon = label.find(':');
        return same(label) || (colon != std::string::npos && same(std::string_view(label).substr(colon + 1)));
    });
}

// "a=b,c": all parts hold.
bool labels_match(const flow::Endpoint& end, std::string_view selector) {
    while (!selector.empty()) {
        const auto comma = selector.find(',');
        if (!has_label(end, selector.substr(0, comma))) {
            return false;
        }
        selector = comma == std::string_view::npos ? std::string_view{} : selector.substr(comma + 1);
    }
    return true;
}

std::pair<std::uint32_t, std::uint32_t> ports_of(const flow::Flow& flow) {
    const auto& l4 = flow.l4();
    switch (l4.protocol_case()) {
    case flow::Layer4::kTCP:
        return {l4.tcp().source_port(), l4.tcp().destination_port()};
    case flow::Layer4::kUDP:
        return {l4.udp().source_port(), l4.udp().destination_port()};
    case flow::Layer4::kSCTP:
        return {l4.sctp().source_port(), l4.sctp().destination_port()};
    default:
        return {0, 0};
    }
}

const char* protocol_of(const flow::Flow& flow) {
    switch (flow.l4().protocol_case()) {
    case flow::Layer4::kTCP:
        return "tcp";
    case flow::Layer4::kUDP:
        return "udp";
    case flow::Layer4::kSCTP:
        return "sctp";
    default:
        return "";
    }
}

// Adds "any of `values` passes `test`" when there are values.
template <typename Values, typename Test>
void any_of(std::vector<Predicate>& all, const Values& values, Test test) {
    if (!std::empty(values)) {
        all.push_back([values, test](const flow::Flow& flow) {
            return std::ranges::any_of(values, [&](const auto& value) { return test(flow, value); });
        });
    }
}

bool owned_by(const flow::Endpoint& end, const flow::Workload& wanted) {
    return std::ranges::any_of(end.workloads(), [&](const flow::Workload& owner) {
        return (wanted.name().empty() || owner.name() == wanted.name()) &&
               (wanted.kind().empty() || owner.kind() == wanted.kind());
    });
}

bool has_identity(const flow::Endpoint& end, std::uint64_t full, std::uint64_t wanted) {
    return full == wanted || end.identity() == wanted;
}

/// Number of the first field, here or in a message below, that this agent does not declare; 0: there is none. A filter
/// of a newer client that asks for more than we know must not pass everything.
int unknown_field(const google::protobuf::Message& message) {
    const auto& reflection = *message.GetReflection();
    if (const auto& unknown = reflection.GetUnknownFields(message); !unknown.empty()) {
        return unknown.field(0).number();
    }
    std::vector<const google::protobuf::FieldDescriptor*> fields;
    reflection.ListFields(message, &fields);
    for (const auto* field : fields) {
        if (field->cpp_type() != google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
            continue;
        }
        for (int i = 0; i < (field->is_repeated() ? reflection.FieldSize(message, field) : 1); ++i) {
            const auto& below = field->is_repeated() ? reflection.GetRepeatedMessage(message, field, i)
                                                     : reflection.GetMessage(message, field);
            if (const int number = unknown_field(below); number != 0) {
                return number;
            }
        }
    }
    return 0;
}

bool address_in(const std::string& text, const Cidr& cidr) {
    const auto ip = Ip::parse(text);
    return ip && cidr.contains(*ip);
}

Result<std::vector<Predicate>> compile(const flow::FlowFilter& filter) {
    std::vector<Predicate> all;
    WEFT_ASSIGN(const auto source_ips, parse_addresses("source_ip", filter.source_ip()));
    WEFT_ASSIGN(const auto destination_ips, parse_addresses("destination_ip", filter.destination_ip()));
    WEFT_ASSIGN(const auto source_ports, parse_ports("source_port", filter.source_port()));
    WEFT_ASSIGN(const auto destination_ports, parse_ports("destination_port", filter.destination_port()));
    any_of(all, source_ips, [](const flow::Flow& f, const Cidr& c) { return address_in(f.ip().source(), c); });
    any_of(all, destination_ips,
           [](const flow::Flow& f, const Cidr& c) { return address_in(f.ip().destination(), c); });
    any_of(all, source_ports, [](const flow::Flow& f, std::uint32_t p) { return ports_of(f).first == p; });
    any_of(all, destination_ports, [](const flow::Flow& f, std::uint32_t p) { return ports_of(f).second == p; });
    any_of(all, filter.source_pod(), [](const flow::Flow& f, const std::string& p) {
        return name_matches(p, f.source().namespace_(), f.source().pod_name());
    });
    any_of(all, filter.destination_pod(), [](const flow::Flow& f, const std::string& p) {
        return name_matches(p, f.destination().namespace_(), f.destination().pod_name());
    });
    any_of(all, filter.destination_service(), [](const flow::Flow& f, const std::string& p) {
        return name_matches(p, f.destination_service().namespace_(), f.destination_service().name());
    });
    any_of(all, filter.source_label(),
           [](const flow::Flow& f, const std::string& s) { return labels_match(f.source(), s); });
    any_of(all, filter.destination_label(),
           [](const flow::Flow& f, const std::string& s) { return labels_match(f.destination(), s); });
    any_of(all, filter.protocol(),
           [](const flow::Flow& f, const std::string& p) { return ::strcasecmp(protocol_of(f), p.c_str()) == 0; });
    any_of(all, filter.verdict(), [](const flow::Flow& f, int v) { return f.verdict() == v; });
    any_of(all, filter.traffic_direction(), [](const flow::Flow& f, int d) { return f.traffic_direction() == d; });
    any_of(all, filter.ip_version(), [](const flow::Flow& f, int v) { return f.ip().ipversion() == v; });
    any_of(all, filter.source_identity(),
           [](const flow::Flow& f, std::uint32_t i) { return f.source().identity() == i; });
    any_of(all, filter.destination_identity(),
           [](const flow::Flow& f, std::uint32_t i) { return f.destination().identity() == i; });
    any_of(all, filter.node_name(), [](const flow::Flow& f, const std::string& n) {
        return ::fnmatch(n.c_str(), f.node_name().c_str(), 0) == 0;
    });
    any_of(all, filter.event_type(), [](const flow::Flow& f, const flow::EventTypeFilter& e) {
        return f.event_type().type() == e.type() && (!e.match_sub_type() || f.event_type().sub_type() == e.sub_type());
    });
    any_of(all, filter.tcp_flags(), [](const flow::Flow& f, const flow::TCPFlags& wanted) {
        const auto& has = f.l4().tcp().flags();
        return f.l4().has_tcp() && (has.fin() || !wanted.fin()) && (has.syn() || !wanted.syn()) &&
               (has.rst() || !wanted.rst());
    });
    any_of(all, filter.source_workload(),
           [](const flow::Flow& f, const flow::Workload& w) { return owned_by(f.source(), w); });
    any_of(all, filter.destination_workload(),
           [](const flow::Flow& f, const flow::Workload& w) { return owned_by(f.destination(), w); });
    any_of(all, filter.drop_reason_desc(),
           [](const flow::Flow& f, int r) { return f.verdict() == flow::DROPPED && f.drop_reason_desc() == r; });
    any_of(all, filter.weft().reason(),
           [](const flow::Flow& f, const std::string& r) { return f.weft().reason() == r; });
    any_of(all, filter.weft().identity(), [](const flow::Flow& f, std::uint64_t i) {
        return has_identity(f.source(), f.weft().source_identity(), i) ||
               has_identity(f.destination(), f.weft().destination_identity(), i);
    });
    any_of(all, filter.weft().principal(), [](const flow::Flow& f, const std::string& p) {
        return f.weft().source_principal() == p || f.weft().destination_principal() == p;
    });
    any_of(all, filter.uuid(), [](const flow::Flow& f, const std::string& u) { return f.uuid() == u; });
    return all;
}

} // namespace

Result<FlowFilter> FlowFilter::make(const List& whitelist, const List& blacklist) {
    auto terms = [](const List& list) -> Result<std::shared_ptr<const std::vector<Term>>> {
        auto out = std::make_shared<std::vector<Term>>();
        for (const auto& filter : list) {
            if (const int number = unknown_field(filter); number != 0) {
                return invalid("the filter has a field that this agent does not know (number {})", number);
            }
            WEFT_ASSIGN(auto all, compile(filter));
            out->push_back({std::move(all)});
        }
        return out;
    };
    FlowFilter out;
    WEFT_ASSIGN(out.white_, terms(whitelist));
    WEFT_ASSIGN(out.black_, terms(blacklist));
    return out;
}

bool FlowFilter::matches(const flow::Flow& flow) const {
    auto hit = [&](const Term& term) { return term.matches(flow); };
    return (white_->empty() || std::ranges::any_of(*white_, hit)) && std::ranges::none_of(*black_, hit);
}

} // namespace weft::telemetry
