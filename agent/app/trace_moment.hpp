// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which step of a connection's life is a moment of the mesh? Pure.
#pragma once

#include "agent/mesh/stats.hpp"
#include "agent/telemetry/trace.hpp"

namespace weft::app {

/// `moment.facts` must have its workload.
telemetry::TraceInput trace_input(const mesh::MomentReport& moment);

} // namespace weft::app
