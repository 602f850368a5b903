// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do the kernel's maps become what the compiler wants, without a packet ever seeing half a change? The only
// writer of the config maps. Thread: control. It knows maps, not programs; it never logs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "agent/bpf/config_maps.hpp"
#include "agent/compiler/desired_state.hpp"
#include "agent/reconcile/stats.hpp"
#include "weft/base/result.hpp"

namespace weft::reconcile {

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
    /// Sets or clears WEFT_CONFIG_TRACE now; verdicts stay as they are. Error: nothing is bound, or it cannot be
    /// written.
    Result<> set_tracing(bool on);

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::reconcile
