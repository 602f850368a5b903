// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft completion bash`: a script made from the commands themselves, so that it is never out of date.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tools/weft/command.hpp"

namespace weft::cli {
namespace {

// One line of the script's table for each command: its path, and every word that may follow.
void describe(const CLI::App& app, const std::string& path, std::string& out) {
    std::vector<std::string> words;
    for (const auto* child : app.get_subcommands([](const CLI::App*) { return true; })) {
        words.push_back(child->get_name());
    }
    for (const auto* option : app.get_options()) {
        for (const auto& name : option->get_lnames()) {
            words.push_back("--" + name);
        }
    }
    std::ranges::sort(words);
    out += fmt::format("    [\"{}\"]=\"{}\"\n", path, fmt::join(words, " "));
    for (const auto* child : app.get_subcommands([](const CLI::App*) { return true; })) {
        describe(*child, path + " " + child->get_name(), out);
    }
}

constexpr const char* kScript = R"(# bash completion for weft; load with: source <(weft completion bash)
_weft() {{
    local -A words=(
{}    )
    local current="${{COMP_WORDS[COMP_CWORD]}}" path=weft word
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        [[ -v words["$path $word"] ]] && path="$path $word"
    done
    case "${{COMP_WORDS[COMP_CWORD-1]}}" in
    -o | --output) COMPREPLY=($(compgen -W "table wide json yaml compact" -- "$current")) ;;
    --socket | --pin-dir | --manifests | --probes) COMPREPLY=($(compgen -f -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "${{words[$path]}}" -- "$current")) ;;
    esac
}}
complete -o default -F _weft weft
)";

} // namespace

void add_completion_command(CLI::App& weft) {
    auto* command =
        weft.add_subcommand("completion", "Shell completion script")->require_subcommand(1)->group("Manage");
    command->add_subcommand("bash", "For bash: source <(weft completion bash)")->callback([&weft] {
        std::string table;
        describe(weft, "weft", table);
        fmt::print("{}", fmt::format(fmt::runtime(kScript), table));
    });
}

} // namespace weft::cli
