// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which steps of a connection's life does an event of the kernel tell? Pure.
#pragma once

#include <string>
#include <vector>

#include "agent/telemetry/trace.hpp"
#include "weft/abi/event.h"

namespace weft::telemetry {

/// `rule`: the rule that decided, as text, empty for none. `service`: what was dialled, as text, empty for none.
/// Nothing for what is no connection of TCP.
std::vector<TraceInput> trace_steps(const weft_event& event, const std::string& rule, const std::string& service);

} // namespace weft::telemetry
