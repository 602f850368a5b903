// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the subcommands of weft-ca share: the folder, how answers are printed, and how a command ends with an error.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>
#include <google/protobuf/message.h>

#include "agent/ca/client.hpp"
#include "tools/weft/command.hpp"
#include "tools/weft/globals.hpp"

namespace weft::ca {

struct CommandGlobals {
    std::string folder = "/var/lib/weft-ca";
    cli::Globals output; ///< format and headers
};

/// Prints "weft-ca: text" on stderr and throws CLI::RuntimeError(code).
[[noreturn]] void fail(cli::ExitCode code, const std::string& text);
/// Which exit code an error has.
cli::ExitCode exit_code_of(const Error& error);

template <typename T>
T value_or_fail(Result<T> result) {
    if (!result) {
        ca::fail(exit_code_of(result.error()), result.error().message());
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

/// "24h", "7d", "90m", "30s" as seconds. Error: EINVAL.
Result<seconds> parse_duration(const std::string& text);

void add_init_command(CLI::App& app, CommandGlobals& globals);
void add_serve_command(CLI::App& app, CommandGlobals& globals);
void add_show_command(CLI::App& app, CommandGlobals& globals);
void add_rotate_command(CLI::App& app, CommandGlobals& globals);
void add_revoke_command(CLI::App& app, CommandGlobals& globals);
void add_token_command(CLI::App& app, CommandGlobals& globals);
void add_issue_command(CLI::App& app, CommandGlobals& globals);

/// Prints `message` in the chosen format; `table` makes the text for table and wide.
void print_answer(const CommandGlobals& globals, const google::protobuf::Message& message,
                  const std::function<std::string()>& table);
/// Prints the state of the authority; also the answer of `rotate`.
void print_state(const CommandGlobals& globals, const ShowResponse& state);

} // namespace weft::ca
