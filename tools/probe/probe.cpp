// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/probe/probe.hpp"

namespace weft::probe {
namespace {

using nlohmann::ordered_json;

template <class... Ts>
struct Overloaded : Ts... {
    using Ts::operator()...;
};

Result<End> parse_end(const std::string& key, const std::string& text, bool may_be_service) {
    if (text.starts_with("ip:")) {
        auto ip = Ip::parse(std::string_view(text).substr(3));
        if (!ip) {
            return std::unexpected(ip.error().within("\"" + key + "\""));
        }
        return AddressEnd{*ip};
    }
    const auto slash = text.find('/');
    if (slash == std::string::npos || slash == 0 || slash + 1 == text.size() ||
        text.find('/', slash + 1) != std::string::npos) {
        return invalid("\"{}\": '{}' is not NAMESPACE/POD{} or ip:ADDRESS", key, text,
                       may_be_service ? ", NAMESPACE/svc:NAME" : "");
    }
    const std::string ns = text.substr(0, slash);
    const std::string name = text.substr(slash + 1);
    if (!name.starts_with("svc:")) {
        return PodEnd{ns, name};
    }
    if (!may_be_service) {
        return invalid("\"{}\": '{}' is a Service; only \"to\" can be one", key, text);
    }
    if (name.size() == 4) {
        return invalid("\"{}\": '{}' lacks the Service's name", key, text);
    }
    return ServiceEnd{ns, name.substr(4)};
}

Result<std::string> text_of(const ordered_json& line, const char* key) {
    const auto found = line.find(key);
    if (found == line.end()) {
        return invalid("\"{}\" is missing", key);
    }
    if (!found->is_string()) {
        return invalid("\"{}\" must be a string", key);
    }
    return found->get<std::string>();
}

} // namespace

Result<Probe> parse_probe(std::string_view json_line) {
    Probe probe;
    probe.line = ordered_json::parse(json_line, nullptr, false);
    if (probe.line.is_discarded()) {
        return invalid("not valid JSON: write one object a line, for example "
                       "{{\"from\":\"shop/web-1\",\"to\":\"shop/svc:api\",\"port\":80,\"protocol\":\"TCP\"}}");
    }
    if (!probe.line.is_object()) {
        return invalid("must be a JSON object");
    }
    WEFT_ASSIGN(const auto from, text_of(probe.line, "from"));
    WEFT_ASSIGN(probe.from, parse_end("from", from, false));
    WEFT_ASSIGN(const auto to, text_of(probe.line, "to"));
    WEFT_ASSIGN(probe.to, parse_end("to", to, true));
    const auto port = probe.line.find("port");
    if (port == probe.line.end() || !port->is_number_integer() || port->get<std::int64_t>() < 1 ||
        port->get<std::int64_t>() > 65535) {
        return invalid("\"port\" must be a number from 1 to 65535");
    }
    probe.port = port->get<std::uint16_t>();
    if (probe.line.contains("protocol")) {
        WEFT_ASSIGN(const auto name, text_of(probe.line, "protocol"));
        const auto number = protocol_number(name);
        if (!number) {
            return invalid("\"protocol\": '{}' is not TCP, UDP or SCTP", name);
        }
        probe.protocol = *number;
    }
    return probe;
}

std::string format_answer(const Probe& probe, const Answer& answer) {
    ordered_json line = probe.line.is_object() ? probe.line : ordered_json::object();
    line["verdict"] = verdict_name(answer.verdict);
    if (!answer.error.empty()) {
        line["errno"] = answer.error;
    }
    if (!answer.rule.empty()) {
        line["rule"] = answer.rule;
    }
    if (answer.ms) {
        line["ms"] = *answer.ms;
    }
    if (!answer.answered_by.empty()) {
        line["answered_by"] = answer.answered_by;
    }
    // Foreign text may hold bytes that are no UTF-8; an answer is written all the same.
    return line.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string_view verdict_name(Verdict verdict) {
    switch (verdict) {
    case Verdict::kAllow:
        return "allow";
    case Verdict::kDeny:
        return "deny";
    default:
        return "error";
    }
}

std::string to_string(const End& end) {
    return std::visit(
        Overloaded{[](const PodEnd& pod) { return pod.namespace_name + "/" + pod.pod; },
                   [](const ServiceEnd& service) { return service.namespace_name + "/svc:" + service.service; },
                   [](const AddressEnd& address) { return "ip:" + address.ip.to_string(); }},
        end);
}

} // namespace weft::probe
