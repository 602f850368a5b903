// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Do the options fit together? Each value was judged alone when it was set.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "agent/app/options.hpp"

namespace weft::app {

/// Where a key was set: "FILE:LINE: key", "--flag", "environment variable NAME". Keys that nobody set are not there.
using Origins = std::map<std::string_view, std::string>;

/// Fills in what depends on the machine or on other options. Error: EINVAL naming where the wrong one was set, and the
/// remedy.
Result<> check_options(Options& options, const Origins& origins);

} // namespace weft::app
