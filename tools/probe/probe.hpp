// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The probe format that `weft simulate` and `weft lab probe` share: one JSON object a line in, the same line out with
// the answer added. Reading and writing it is here, so that the two commands cannot drift apart.
#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <variant>

#include <nlohmann/json.hpp>

#include "weft/base/ip.hpp"

namespace weft::probe {

/// "ns/pod"
struct PodEnd {
    std::string namespace_name, pod;
};
/// "ns/svc:NAME"; only as `to`
struct ServiceEnd {
    std::string namespace_name, service;
};
/// "ip:ADDR": a host outside the cluster (or, as `to`, any address)
struct AddressEnd {
    Ip ip;
};
using End = std::variant<PodEnd, ServiceEnd, AddressEnd>;

struct Probe {
    End from;
    End to;
    std::uint16_t port = 0;
    std::uint8_t protocol = 6; ///< IPPROTO_TCP (default), IPPROTO_UDP, IPPROTO_SCTP
    nlohmann::ordered_json line; ///< as read, to be written back with unknown keys kept
};

enum class Verdict { kAllow, kDeny, kError };

struct Answer {
    Verdict verdict = Verdict::kError;
    std::string error;      ///< kDeny, kError: errno name ("ECONNREFUSED", "ETIMEDOUT") or text; empty otherwise
    std::string rule;       ///< rule that decided, or "default"; empty when not known
    std::string answered_by; ///< "ns/pod" that answered (or would), empty when none
    std::optional<double> ms; ///< lab only
};

/// One line. Error names the key and the remedy, without the line number.
Result<Probe> parse_probe(std::string_view json_line);

/// The probe's line with "verdict", "errno", "rule", "ms", "answered_by" added (only those known).
std::string format_answer(const Probe& probe, const Answer& answer);

/// "allow", "deny", "error".
std::string_view verdict_name(Verdict verdict);

/// Text form of an end as in the input.
std::string to_string(const End& end);

} // namespace weft::probe
