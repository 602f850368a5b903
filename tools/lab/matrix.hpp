// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft lab probe --all`: which probes, and the truth table that policy testers print. Pure.
#pragma once

#include <string>
#include <vector>

#include "tools/lab/protocol.hpp"
#include "tools/probe/probe.hpp"

namespace weft::lab {

/// Every pod to every pod, on every port that any container declares.
std::vector<probe::Probe> all_probes(const Json& status);

/// One table for each port: a row for each source, a column for each target, '.' allowed, 'X' denied, '#' error.
std::string truth_tables(const std::vector<probe::Probe>& probes, const std::vector<probe::Answer>& answers);

} // namespace weft::lab
