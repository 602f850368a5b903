// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Options that every subcommand shares, and the one way in which a command ends with an error.
#pragma once

#include <functional>
#include <string>
#include <type_traits>
#include <utility>

#include "tools/weft/command.hpp"
#include "weft/base/result.hpp"

namespace weft::cli {

enum class Format { kTable, kWide, kJson, kYaml };

struct Globals {
    std::string socket = "/run/weft/admin.sock";
    Format format = Format::kTable;
    bool no_headers = false;
};

/// Prints "weft: text" on stderr and throws CLI::RuntimeError(code).
[[noreturn]] void fail(ExitCode code, const std::string& text);

/// The value, or fail() with the code that fits the errno.
template <typename T>
T value_or_fail(Result<T> result);
/// Exit code for an error: ENOENT not found, EACCES/EPERM no permission, ECONNREFUSED/ENXIO no agent, EINVAL usage.
ExitCode exit_code_of(const Error& error);

template <typename T>
T value_or_fail(Result<T> result) {
    if (!result) {
        fail(exit_code_of(result.error()), result.error().message());
    }
    if constexpr (!std::is_void_v<T>) {
        return std::move(*result);
    }
}

/// Adds -o, --no-headers to a command that prints a list or an object.
void add_output_options(CLI::App& command, Globals& globals);

/// A page that is printed once, or with --watch followed by what changes in it, until interrupted.
struct Watch {
    bool on = false;
};
/// Adds -w, --watch.
void add_watch_option(CLI::App& command, Watch& watch);

/// Lines of `now` that `before` does not have, however wide their columns are: the rows that are new or changed.
std::string changed_rows(const std::string& before, const std::string& now);

/// Prints `page()` once. When watching, asks again every two seconds: of a table only rows that are new or changed are
/// printed, as kubectl does; of anything else the whole page whenever it differs.
void run_watched(const Watch& watch, const Globals& globals, const std::function<std::string()>& page);
/// The same for a page that is no list: on a terminal each one replaces the last.
void run_watched_page(const Watch& watch, const std::function<std::string()>& page);

} // namespace weft::cli
