// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The subcommands of `weft lab`: each function registers one group with CLI11 (see tools/weft/command.hpp for how they
// report failure).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tools/lab/protocol.hpp"
#include "tools/weft/command.hpp"

namespace weft::lab {

void add_up(CLI::App& lab);          ///< up, and the hidden supervise and pause
void add_down(CLI::App& lab);        ///< down, list
void add_changes(CLI::App& lab);     ///< apply, delete, scale, cordon, uncordon, kill-agent, restart-agent, kill
void add_exec(CLI::App& lab);        ///< exec, logs
void add_status(CLI::App& lab);      ///< status
void add_probe(CLI::App& lab);       ///< probe

/// Prints the error on stderr and throws CLI::RuntimeError with the exit code that fits its errno.
[[noreturn]] void fail(const Error& error);

/// The value, or fail().
template <typename T>
T need(Result<T> result) {
    if (!result) {
        fail(result.error());
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

/// Fails with kNoPermission unless root.
void need_root();

/// The --name option that every subcommand has; default "lab".
void add_name_option(CLI::App& command, std::string& name);

/// "NS/NAME" or "NAME" (namespace default). Error: EINVAL.
Result<std::pair<std::string, std::string>> parse_pod(const std::string& text);

/// The manifests of a file or (recursively) a folder, read and checked: [{"name", "text"}]. Prints every refusal and
/// fails if there is one; says once what of the manifests the lab ignores.
Json read_manifests(const std::string& path);

/// A table as kubectl prints it: columns padded with three spaces.
std::string table(const std::vector<std::vector<std::string>>& rows);

/// The pods of a lab as a table, from its status.
std::string pod_table(const Json& status);
/// The nodes of a lab as a table, from its status.
std::string node_table(const Json& status);

} // namespace weft::lab
