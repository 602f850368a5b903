// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Commands below `weft conn` that are files of their own.
#pragma once

#include "tools/weft/command.hpp"

namespace weft::cli {

void add_conn_trace_command(CLI::App& conn, Globals& globals);

} // namespace weft::cli
