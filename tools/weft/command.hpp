// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How a subcommand joins the `weft` program: one file each, one add_* function that registers it with CLI11.
// A command reports failure by throwing CLI::RuntimeError(exit code) after printing one line on stderr.
#pragma once

#include <CLI/CLI.hpp>

namespace weft::cli {

/// Exit codes of every subcommand, as `weft --help` documents them.
enum ExitCode : int {
    kOk = 0,
    kFailed = 1,       ///< the operation failed; stderr says why
    kUsage = 2,        ///< wrong flags or arguments
    kNoAgent = 3,      ///< the agent does not answer on its socket
    kNoPermission = 4, ///< not root, or the socket refuses this user
    kNotFound = 5,     ///< the named object does not exist
    kDegraded = 6,     ///< `status`, `check`: it runs, but something listed needs attention
};

void add_simulate_command(CLI::App& weft);
void add_lab_command(CLI::App& weft);

/// Options that the commands of an agent share; lives as long as the program.
struct Globals;

void add_status_command(CLI::App& weft, Globals& globals);
void add_check_command(CLI::App& weft, Globals& globals);
void add_service_command(CLI::App& weft, Globals& globals);
void add_endpoint_command(CLI::App& weft, Globals& globals);
void add_policy_command(CLI::App& weft, Globals& globals);
void add_identity_command(CLI::App& weft, Globals& globals);
void add_certificate_command(CLI::App& weft, Globals& globals);
void add_map_command(CLI::App& weft, Globals& globals);
void add_conn_command(CLI::App& weft, Globals& globals);
void add_flows_command(CLI::App& weft, Globals& globals);
void add_ui_command(CLI::App& weft, Globals& globals);
void add_version_command(CLI::App& weft, Globals& globals);
void add_uninstall_command(CLI::App& weft, Globals& globals);
void add_completion_command(CLI::App& weft);

} // namespace weft::cli
