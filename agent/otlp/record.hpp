// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does a flow read as OTLP's log record and span? One of each for what ended and what was denied; both know each
// other by trace and span id. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace flow {
class Flow;
}

namespace weft::otlp {

/// What is exported of a flow.
struct Records {
    std::string log;  ///< weft.otlp.LogRecord, serialized
    std::string span; ///< weft.otlp.Span, serialized
    std::string namespace_name; ///< of the workload that reports; empty when no pod is known
    std::uint64_t key = 0; ///< the same for everything of one connection, evenly spread: for sampling
    bool denied = false;
};

/// Nothing for flows that have no record: openings, as their end tells all. `observed_ns`: Unix time, now.
std::optional<Records> make_records(const flow::Flow& flow, std::int64_t observed_ns);

} // namespace weft::otlp
