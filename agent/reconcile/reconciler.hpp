// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do the kernel's maps become what the compiler wants, without a packet ever seeing half a change? The only
// writer of the config maps. Thread: control. It knows maps, not programs; it never logs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/bpf/config_maps.hpp"
#include "agent/compiler/desired_state.hpp"
#include "weft/abi/event.h"
#include "weft/base/result.hpp"

namespace weft::reconcile {

/// An object that could not be written: it stays as it was (or fails closed), the others went on.
struct Failure {
    std::string object; ///< "service ns/name port http", "endpoint <cookie>", "address 10.0.0.1"
    std::string map;    ///< map that refused, "weft_slot"
    Error error;        ///< what happened and what stays in force; E2BIG: the map is full
};

/// A UDP backend that a Service no longer has: sockets connected to it through that Service are to be destroyed.
struct StaleBackend {
    std::uint64_t service = 0; ///< weft_service.service
    weft_addr_port backend{};
};

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

/// Entries per map that `state` needs.
bpf::MapSizes wanted_sizes(const compiler::DesiredState& state);

class Reconciler {
public:
    /// Without maps: bind() comes before anything else. `grace_period` returns when no program can still hold what
    /// it read from a map before the call; the default asks the kernel (membarrier).
    explicit Reconciler(std::function<void()> grace_period = {});
    Reconciler(Reconciler&&) noexcept;
    Reconciler& operator=(Reconciler&&) noexcept;
    ~Reconciler();

    /// Works on these maps from now on and takes what they contain as the actual state, so that the next apply()
    /// writes only differences: after a restart, or on new larger maps. Error: a map cannot be read.
    Result<> bind(const bpf::ConfigMaps& maps);

    /// Makes the maps equal to `state`. Order: backend sets and policy entries; addresses and identities; flips of
    /// frontends and endpoints; removal of what lost its last user. Objects that do not fit are in `failures`; they
    /// are tried again by the next apply(). Error: nothing is bound, or the revision cannot be written.
    Result<ApplyStats> apply(const compiler::DesiredState& state);

    /// Compares every map with what apply() left there and mends it. Error: a map cannot be read.
    Result<DriftReport> repair();

    /// Sets weft_config.flags (WEFT_CONFIG_*); in force with the next apply().
    void set_config_flags(std::uint32_t flags);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::reconcile
