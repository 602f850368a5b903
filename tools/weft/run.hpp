// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The one way in which a command line becomes an exit code.
#pragma once

#include "tools/weft/command.hpp"

namespace weft::cli {

/// Parses, which runs the chosen command. What is wrong with the command line is said on stderr, with where to look.
int run(CLI::App& app, int argc, const char* const* argv);

} // namespace weft::cli
