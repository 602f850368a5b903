// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/trace_moment.hpp"

#include <fmt/format.h>

namespace weft::app {
namespace {

using mesh::Moment;

std::string bare(const weft_addr_port& at) {
    const auto text = to_string(at);
    return text.substr(text.find(' ') + 1);
}

const char* carried_text(const mesh::ConnectionFacts& facts) {
    if (facts.in_relay) {
        return facts.carrier == mesh::Carrier::kPlaintext ? "by weft-relay, as it came"
                                                          : "by weft-relay, records by the kernel";
    }
    return facts.carrier == mesh::Carrier::kPlaintext ? "by this agent, as it came" : "by this agent, with OpenSSL";
}

} // namespace

telemetry::TraceInput trace_input(const mesh::MomentReport& moment) {
    const auto& facts = moment.facts;
    const bool client = facts.side == mesh::Side::kClient;
    telemetry::TraceInput out;
    out.at_ns = moment.at_ns;
    out.netns = facts.workload->netns_cookie;
    out.cookie = facts.cookie;
    out.client = client;
    out.local = facts.app;
    if (client) { // its own end is on loopback, towards the agent
        out.local.addr = (Ip(facts.remote.addr).is_v4() ? facts.workload->addr4 : facts.workload->addr6).raw();
    }
    out.remote = facts.remote;
    out.by = "agent";
    switch (moment.moment) {
    case Moment::kAccepted:
        out.step = "accepted";
        out.begins = true;
        out.detail = client ? "from the application" : "from the peer";
        break;
    case Moment::kDialled:
        out.step = "dialled";
        out.detail = bare(facts.remote);
        break;
    case Moment::kConnected:
        out.step = "handshake-begun";
        out.detail = "the connection between the nodes stands";
        break;
    case Moment::kHandshake:
        out.step = "handshake-begun";
        out.detail = "the first bytes are a Weft handshake";
        break;
    case Moment::kPlaintext:
        out.step = "plaintext";
        out.detail = "the first bytes are no Weft handshake; the workload is permissive";
        break;
    case Moment::kProven:
        out.step = "peer-proven";
        out.detail = fmt::format("{}, which may be at {}", moment.detail, Ip(facts.remote.addr).to_string());
        break;
    case Moment::kEstablished:
        out.step = "handshake-done";
        out.detail = fmt::format("{}, {}, {}", facts.cipher, facts.group.empty() ? "no group" : facts.group,
                                 facts.resumed ? "resumed" : "full");
        break;
    case Moment::kApplication:
        out.step = "application-connected";
        out.detail = bare(facts.app);
        break;
    case Moment::kKeys:
        out.step = "keys-installed";
        out.detail = "the kernel has both keys";
        break;
    case Moment::kCarried:
        out.step = "carried";
        out.detail = fmt::format("tier {}: {}{}{}", mesh::carrier_name(facts.carrier), carried_text(facts),
                                 facts.why_not_kernel.empty() ? "" : ", since ", facts.why_not_kernel);
        break;
    case Moment::kTaken:
        out.step = "relay-took";
        out.by = "weft-relay";
        out.detail = "it goes on without this agent";
        break;
    case Moment::kFailed:
        out.step = "failed";
        out.gives_up = true;
        out.detail =
            moment.detail.empty() ? std::string(moment.word) : fmt::format("{}: {}", moment.word, moment.detail);
        break;
    case Moment::kEnded:
        out.step = "ended";
        out.by = facts.in_relay ? "weft-relay" : "agent";
        out.gives_up = true;
        out.detail = fmt::format("{}; {} bytes to the peer, {} to the application",
                                 facts.revoked ? "revoked" : moment.word, moment.ending.to_peer, moment.ending.to_app);
        break;
    }
    return out;
}

} // namespace weft::app
