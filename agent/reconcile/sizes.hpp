// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How many entries does a desired state need in each map?
#pragma once

#include <cstdint>
#include <unordered_map>

#include "agent/bpf/config_maps.hpp"
#include "agent/compiler/desired_state.hpp"

namespace weft::reconcile {

/// Counts a series of desired states, each by what changed since the one before.
class SizeCounter {
public:
    /// Entries per map that `state` needs.
    bpf::MapSizes count(const compiler::DesiredState& state);

private:
    /// A backend set is in the maps once, however many fragments use it.
    struct Set {
        std::uint32_t users = 0;
        std::uint32_t maglev_users = 0;
    };
    void add(const compiler::ServiceFragment& fragment);
    void take_away(const compiler::ServiceFragment& fragment);

    decltype(compiler::DesiredState::services) counted_;
    std::unordered_map<std::uint64_t, Set> sets_;
    bpf::MapSizes services_; ///< what counted_ needs
};

/// Entries per map that `state` needs, counted afresh.
bpf::MapSizes wanted_sizes(const compiler::DesiredState& state);

} // namespace weft::reconcile
