// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Dials from inside one pod: many real connections at once, each answered in time or denied.
#pragma once

#include <string>
#include <vector>

#include "tools/probe/probe.hpp"

namespace weft::lab {

/// How long a probe waits for an answer. Longer than the kernel waits before it repeats a SYN (1 s): a listener with a
/// short queue drops the first one when many dial at once, and that is no denial.
inline constexpr int kProbeTimeoutMs = 1500;

struct Dial {
    std::size_t index = 0; ///< the caller's number of this probe
    Ip ip = {};
    std::uint16_t port = 0;
    std::uint8_t protocol = 6;
    bool must_answer = true; ///< a responder listens there: only its word counts; else a connection is enough
};

struct DialResult {
    std::size_t index = 0;
    probe::Verdict verdict = probe::Verdict::kError;
    std::string error = {};       ///< errno name, or text
    std::string answered_by = {}; ///< "ns/pod"
    double ms = 0;
};

/// Runs in the source pod; writes one line for each dial to `output`, in the order in which they end.
void dial_all(const std::vector<Dial>& dials, int output);

/// Reads a line that dial_all wrote. Error: EPROTO.
Result<DialResult> parse_dial_result(const std::string& line);

} // namespace weft::lab
