// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Shared options, watching, and ending with an error.
#include "tools/weft/globals.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>

#include <fmt/format.h>

namespace weft::cli {

void fail(ExitCode code, const std::string& text) {
    fmt::print(stderr, "weft: {}\n", text);
    throw CLI::RuntimeError(code);
}

ExitCode exit_code_of(const Error& error) {
    switch (error.code()) {
    case ENOENT:
        return kNotFound;
    case EACCES:
    case EPERM:
        return kNoPermission;
    case ECONNREFUSED:
    case ENXIO:
        return kNoAgent;
    case EINVAL:
        return kUsage;
    default:
        return kFailed;
    }
}

void add_output_options(CLI::App& command, Globals& globals) {
    static const std::map<std::string, Format> kFormats = {
        {"table", Format::kTable}, {"wide", Format::kWide}, {"json", Format::kJson}, {"yaml", Format::kYaml}};
    command.add_option("-o,--output", globals.format, "table, wide, json or yaml")
        ->transform(CLI::CheckedTransformer(kFormats).description(""))
        ->option_text("FORMAT");
    command.add_flag("--no-headers", globals.no_headers, "Leave out the line of column names");
}

void add_watch_option(CLI::App& command, Watch& watch) {
    command.add_flag("-w,--watch", watch.on, "Print again every 2 seconds until interrupted");
}

void run_watched(const Watch& watch, const std::function<void()>& print) {
    if (!watch.on) {
        print();
        return;
    }
    const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    for (bool first = true;; first = false) {
        fmt::print("{}", terminal ? "\033[H\033[2J" : first ? "" : "\n");
        print();
        (void)std::fflush(stdout); // a reader that went away ends us by SIGPIPE
        std::this_thread::sleep_for(std::chrono::seconds(2));
    }
}

} // namespace weft::cli
