// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Runs a probe plan: starts who answers, waits until they listen, dials from every source at once, collects.
#pragma once

#include <vector>

#include "tools/lab/probe_plan.hpp"

namespace weft::lab {

/// Answers in the order of the probes that the plan was made from. For a single-threaded caller.
Result<std::vector<probe::Answer>> run_probes(ProbePlan plan, std::size_t count);

} // namespace weft::lab
