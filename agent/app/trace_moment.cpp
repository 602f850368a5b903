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

const char* step_of(Moment moment) {
    switch (moment) {
    case Moment::kAccepted:
        return "accepted";
    case Moment::kDialled:
        return "dialled";
    case Moment::kConnected:
    case Moment::kHandshake:
        return "handshake-begun";
    case Moment::kPlaintext:
        return "plaintext";
    case Moment::kProven:
        return "peer-proven";
    case Moment::kEstablished:
        return "handshake-done";
    case Moment::kApplication:
        return "application-connected";
    case Moment::kKeys:
        return "keys-installed";
    case Moment::kCarried:
        return "carried";
    case Moment::kTaken:
        return "relay-took";
    case Moment::kFailed:
        return "failed";
    case Moment::kEnded:
        return "ended";
    }
    return "unknown";
}

std::string detail_of(const mesh::MomentReport& moment) {
    const auto& facts = moment.facts;
    switch (moment.moment) {
    case Moment::kAccepted:
        return facts.side == mesh::Side::kClient ? "from the application" : "from the peer";
    case Moment::kDialled:
        return bare(facts.remote);
    case Moment::kConnected:
        return "the connection between the nodes stands";
    case Moment::kHandshake:
        return "the first bytes are a Weft handshake";
    case Moment::kPlaintext:
        return "the first bytes are no Weft handshake; the workload is permissive";
    case Moment::kProven:
        return fmt::format("{}, which may be at {}", moment.detail, Ip(facts.remote.addr).to_string());
    case Moment::kEstablished:
        return fmt::format("{}, {}, {}", facts.cipher, facts.group.empty() ? "no group" : facts.group,
                           facts.resumed ? "resumed" : "full");
    case Moment::kApplication:
        return bare(facts.app);
    case Moment::kKeys:
        return "the kernel has both keys";
    case Moment::kCarried:
        return fmt::format("tier {}: {}{}{}", mesh::carrier_name(facts.carrier), carried_text(facts),
                           facts.why_not_kernel.empty() ? "" : ", since ", facts.why_not_kernel);
    case Moment::kTaken:
        return "it goes on without this agent";
    case Moment::kFailed:
        return moment.detail.empty() ? std::string(moment.word) : fmt::format("{}: {}", moment.word, moment.detail);
    case Moment::kEnded:
        return fmt::format("{}; {} bytes to the peer, {} to the application", facts.revoked ? "revoked" : moment.word,
                           moment.ending.to_peer, moment.ending.to_app);
    }
    return {};
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
    const bool by_relay = moment.moment == Moment::kTaken || (moment.moment == Moment::kEnded && facts.in_relay);
    out.by = by_relay ? "weft-relay" : "agent";
    out.step = step_of(moment.moment);
    out.detail = detail_of(moment);
    out.begins = moment.moment == Moment::kAccepted;
    out.gives_up = moment.moment == Moment::kFailed || moment.moment == Moment::kEnded;
    return out;
}

} // namespace weft::app
