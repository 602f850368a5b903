// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does a flow read in the access log? One JSON object a line, with the names of Istio's TCP access log where they
// have the same meaning. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace flow {
class Flow;
}

namespace weft::telemetry {

/// A flow's line, without its end; nothing for flows that have none: openings, as their end is told in whole.
struct AccessLine {
    std::string text;
    std::string namespace_name; ///< of the workload that reports; empty when no pod is known
    std::uint64_t key = 0; ///< the same for everything of one connection, evenly spread: for sampling
    bool denied = false;
};
std::optional<AccessLine> access_line(const flow::Flow& flow);

} // namespace weft::telemetry
