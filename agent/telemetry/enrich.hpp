// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does a kernel event become a flow that a person reads? Numbers get names, the two ends become source and
// destination, the kernel's clock becomes wall clock time. Pure: no kernel, no clock of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "agent/compiler/desired_state.hpp"
#include "weft/abi/event.h"

namespace flow {
class Flow;
}

namespace weft::telemetry {

/// What an event is told with.
struct EnrichContext {
    const compiler::DesiredState* desired = nullptr; ///< never null
    std::string node_name;
    std::string trust_domain = {}; ///< of the mesh: first part of principals
    std::uint64_t policy_revision = 0;
    /// Wall clock minus CLOCK_MONOTONIC, in nanoseconds (wall_clock_offset_ns()).
    std::int64_t wall_offset_ns = 0;
    std::uint64_t boot_id = 0; ///< any number of this agent's life; makes uuids unique
};

/// CLOCK_REALTIME minus CLOCK_MONOTONIC now. Take it anew now and then: the wall clock may be set.
std::int64_t wall_clock_offset_ns();

/// The event as a flow. Names that the desired state does not have stay empty, numbers are always there.
flow::Flow enrich(const weft_event& event, const EnrichContext& context);

} // namespace weft::telemetry
