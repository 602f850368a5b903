// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/weft/run.hpp"

#include <fmt/format.h>

#include <string>

namespace weft::cli {
namespace {

/// The command that was named last, with those that it belongs to: "weft conn list".
std::string command_line(const CLI::App& app) {
    std::string names = app.get_name();
    for (const auto* last = &app; !last->get_subcommands().empty();) {
        last = last->get_subcommands().front();
        names += " " + last->get_name();
    }
    return names;
}

/// CLI11 looks for what is missing before it looks at what it does not know, and the latter is mostly the cause.
std::string what_is_wrong(const CLI::App& app, const CLI::ParseError& error) {
    if (const auto unknown = app.remaining(true); !unknown.empty()) {
        const auto& first = unknown.front();
        return fmt::format("unknown {} '{}'", first.starts_with("-") ? "option" : "command or argument", first);
    }
    if (dynamic_cast<const CLI::ConversionError*>(&error) != nullptr) {
        const std::string text = error.what();
        const auto colon = text.find(": ");
        return "not a value of that kind: " + text.substr(colon == std::string::npos ? 0 : colon + 2);
    }
    return error.what();
}

} // namespace

int run(CLI::App& app, int argc, const char* const* argv) {
    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::RuntimeError& error) {
        return error.get_exit_code();
    } catch (const CLI::ParseError& error) {
        fmt::print(stderr, "{}: {}\nRun `{} --help` for what there is.\n", app.get_name(), what_is_wrong(app, error),
                   command_line(app));
        return kUsage;
    } catch (const std::exception& error) {
        fmt::print(stderr, "{}: {}\n", app.get_name(), error.what());
        return kFailed;
    }
    return kOk;
}

} // namespace weft::cli
