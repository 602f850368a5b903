// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Shared options, watching, and ending with an error.
#include "tools/weft/globals.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <set>
#include <string_view>
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
    command.add_flag("-w,--watch", watch.on,
                     "Go on and print what changes, looking every 2 seconds, until interrupted");
}

namespace {

constexpr auto kLookAgain = std::chrono::seconds(2);

void put(const std::string& text) {
    fmt::print("{}", text);
    (void)std::fflush(stdout); // a reader that went away ends us by SIGPIPE
}

/// A row without its padding.
std::string squeezed(std::string_view line) {
    std::string text;
    for (const char c : line) {
        if (c != ' ' || (!text.empty() && text.back() != ' ')) {
            text += c;
        }
    }
    return text.substr(0, text.find_last_not_of(' ') + 1);
}

template <typename Take>
void for_each_line(std::string_view text, Take take) {
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        take(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

} // namespace

std::string changed_rows(const std::string& before, const std::string& now) {
    std::multiset<std::string> known;
    for_each_line(before, [&](std::string_view line) { known.insert(squeezed(line)); });
    std::string changed;
    for_each_line(now, [&](std::string_view line) {
        if (const auto found = known.find(squeezed(line)); found != known.end()) {
            known.erase(found);
        } else {
            changed.append(line).append("\n");
        }
    });
    return changed;
}

void run_watched(const Watch& watch, const Globals& globals, const std::function<std::string()>& page) {
    auto last = page();
    put(last);
    const bool rows = globals.format == Format::kTable || globals.format == Format::kWide;
    while (watch.on) {
        std::this_thread::sleep_for(kLookAgain);
        auto next = page();
        put(rows ? changed_rows(last, next) : next == last ? "" : next);
        last = std::move(next);
    }
}

void run_watched_page(const Watch& watch, const std::function<std::string()>& page) {
    const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    put((watch.on && terminal ? "\033[H\033[2J" : "") + page());
    while (watch.on) {
        std::this_thread::sleep_for(kLookAgain);
        put((terminal ? "\033[H\033[2J" : "\n") + page());
    }
}

} // namespace weft::cli
