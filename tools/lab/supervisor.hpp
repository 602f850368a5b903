// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The process behind a lab: owns every other process of it, plays the control plane, answers the commands.
#pragma once

#include "tools/lab/names.hpp"

namespace weft::lab {

/// Runs until a command says quit or SIGTERM arrives. Never removes anything: that is done by name, see cleanup.hpp.
Result<> supervise(const Names& names);

} // namespace weft::lab
