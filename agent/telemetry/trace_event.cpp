// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/telemetry/trace_event.hpp"

#include <netinet/in.h>

#include <fmt/format.h>

#include "agent/telemetry/reasons.hpp"
#include "weft/abi/policy.h"
#include "weft/base/ip.hpp"

namespace weft::telemetry {
namespace {

std::string bare(const weft_addr_port& at) {
    const auto text = to_string(at);
    return text.substr(text.find(' ') + 1);
}

std::string allowed_text(const std::string& rule) {
    return rule.empty() ? "allowed" : "allowed by " + rule;
}

void add_connect(std::vector<TraceInput>& steps, TraceInput step, const weft_event& event, const std::string& rule,
                 const std::string& service) {
    const bool translated = event.asked.port != event.remote.port || Ip(event.asked.addr) != Ip(event.remote.addr);
    TraceInput hook = step;
    hook.at_ns -= static_cast<std::int64_t>(event.duration_ns);
    hook.step = "connect";
    hook.begins = true;
    hook.detail = fmt::format("{}{}{}{}, {}", translated ? bare(event.asked) + " is " : "", bare(event.remote),
                              service.empty() ? "" : " of ", service, allowed_text(rule));
    steps.push_back(std::move(hook));
    step.step = "established";
    step.opens = true;
    step.detail =
        (event.flags & WEFT_EVENT_MUTUAL_TLS) != 0 ? "with this node's agent, for mutual TLS" : "with the peer";
    steps.push_back(std::move(step));
}

std::string close_text(const weft_event& event) {
    return fmt::format(
        "{} by the {}; {} bytes sent, {} received", (event.flags & WEFT_EVENT_RESET) != 0 ? "reset" : "closed",
        (event.flags & WEFT_EVENT_LOCAL_END) != 0 ? "workload" : "peer", event.bytes_sent, event.bytes_received);
}

} // namespace

std::vector<TraceInput> trace_steps(const weft_event& event, const std::string& rule, const std::string& service) {
    std::vector<TraceInput> steps;
    TraceInput step;
    step.at_ns = static_cast<std::int64_t>(event.time_ns);
    step.netns = event.netns;
    step.cookie = event.cookie;
    step.by = "kernel";
    if (event.kind == WEFT_EVENT_FIRST_BYTE) { // known by its cookie; the direction is the byte's
        step.step = event.direction == WEFT_EGRESS ? "first-byte-sent" : "first-byte-received";
        return {step};
    }
    if (event.local.proto != IPPROTO_TCP) {
        return {};
    }
    step.client = event.direction == WEFT_EGRESS;
    step.local = event.local;
    step.remote = event.kind == WEFT_EVENT_NO_BACKEND ? event.asked : event.remote;
    switch (event.kind) {
    case WEFT_EVENT_CONNECT:
        add_connect(steps, step, event, rule, service);
        return steps;
    case WEFT_EVENT_ACCEPT:
        step.step = "established";
        step.begins = step.opens = true;
        step.detail = fmt::format(
            "{}, {}", (event.flags & WEFT_EVENT_MUTUAL_TLS) != 0 ? "from this node's agent" : "from the peer",
            allowed_text(rule));
        break;
    case WEFT_EVENT_CLOSE:
        step.step = "closed";
        step.ends = true;
        step.detail = close_text(event);
        break;
    case WEFT_EVENT_DENIED:
    case WEFT_EVENT_NO_BACKEND:
        step.step = event.kind == WEFT_EVENT_DENIED ? "denied" : "refused";
        step.begins = step.gives_up = true;
        if ((event.flags & WEFT_EVENT_PACKET) != 0) {
            step.cookie = 0; // that of the listener, if the packet was the first one
        }
        step.detail = fmt::format("{}: {}", reason_label(event.reason), reason_help(event.reason));
        break;
    default:
        return {};
    }
    return {step};
}

} // namespace weft::telemetry
