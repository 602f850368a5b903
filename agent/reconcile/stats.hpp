// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What did a round of map writes do, and what could it not do? The reconciler's answers, as values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/bpf/stale_backend.hpp"
#include "weft/base/result.hpp"

namespace weft::reconcile {

/// An object that could not be written: it stays as it was (or fails closed), the others went on.
struct Failure {
    std::string object; ///< "service ns/name port http", "endpoint <cookie>", "address 10.0.0.1"
    std::string map;    ///< map that refused, "weft_slot"
    Error error;        ///< what happened and what stays in force; E2BIG: the map is full
};

/// A UDP backend that a Service no longer has: sockets connected to it through that Service are to be destroyed.
using StaleBackend = bpf::StaleBackend;

struct ApplyStats {
    std::size_t written = 0;  ///< entries written
    std::size_t removed = 0;  ///< entries removed
    std::size_t services_changed = 0;
    std::uint64_t revision = 0; ///< weft_config.revision now in force
    bool revision_bumped = false;
    std::vector<Failure> failures;
    std::vector<StaleBackend> removed_udp_backends;
};

/// Differences that repair() found and mended in one map.
struct MapDrift {
    std::size_t missing = 0;
    std::size_t changed = 0;
    std::size_t extra = 0;
    [[nodiscard]] std::size_t total() const { return missing + changed + extra; }
};

struct DriftReport {
    std::map<std::string, MapDrift> maps; ///< by map name; only maps with drift
    std::vector<Failure> failures;        ///< entries that could not be mended
    [[nodiscard]] std::size_t total() const;
};

} // namespace weft::reconcile
