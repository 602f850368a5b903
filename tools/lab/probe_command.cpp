// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft lab probe`: real connections between pods, Services and hosts outside, and what became of each.
#include <fstream>
#include <iostream>
#include <memory>

#include "tools/lab/commands.hpp"
#include "tools/lab/matrix.hpp"
#include "tools/lab/probe_run.hpp"

namespace weft::lab {
namespace {

struct Options {
    std::string name;
    std::string file;
    std::string output = "json";
    bool all = false;
};

std::vector<probe::Probe> read_probes(std::istream& stream, const std::string& file) {
    std::vector<probe::Probe> probes;
    int number = 0;
    for (std::string line; std::getline(stream, line);) {
        ++number;
        if (line.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        auto probe = probe::parse_probe(line);
        if (!probe) {
            fail(probe.error().within(fmt::format("{}:{}", file, number)));
        }
        probes.push_back(std::move(*probe));
    }
    return probes;
}

std::vector<probe::Probe> wanted_probes(const Options& options, const Json& status) {
    if (options.all) {
        return all_probes(status);
    }
    if (options.file == "-") {
        return read_probes(std::cin, "stdin");
    }
    std::ifstream stream(options.file);
    if (!stream) {
        fail(Error(ENOENT,
                   fmt::format("{}: no such file: give a file of JSON lines, or - for stdin, or --all", options.file)));
    }
    return read_probes(stream, options.file);
}

std::string as_table(const std::vector<probe::Probe>& probes, const std::vector<probe::Answer>& answers) {
    std::vector<std::vector<std::string>> rows{
        {"FROM", "TO", "PORT", "PROTOCOL", "VERDICT", "ERRNO", "MS", "ANSWERED BY"}};
    for (std::size_t i = 0; i < probes.size(); ++i) {
        const auto& probe = probes[i];
        const auto& answer = answers[i];
        rows.push_back({to_string(probe.from), to_string(probe.to), std::to_string(probe.port),
                        protocol_name(probe.protocol), std::string(probe::verdict_name(answer.verdict)),
                        answer.error.empty() ? "-" : answer.error, answer.ms ? fmt::format("{:.1f}", *answer.ms) : "-",
                        answer.answered_by.empty() ? "-" : answer.answered_by});
    }
    return table(rows);
}

void run(const Options& options) {
    need_root();
    if (options.all != options.file.empty()) {
        fail(Error(EINVAL, "give a FILE of probes (- for stdin), or --all"));
    }
    const auto names = need(Names::make(options.name));
    const auto status = need(ask(names, Json{{"op", "status"}}));
    const auto probes = wanted_probes(options, status);
    const auto plan = plan_probes(status, probes, [&names](const Ip& ip) -> Result<Place> {
        WEFT_ASSIGN(const auto answer, ask(names, Json{{"op", "external"}, {"ip", ip.to_string()}}));
        return Place{answer["netns"].get<std::string>(), answer["cgroup"].get<std::string>()};
    });
    const auto answers = need(run_probes(plan, probes.size()));
    if (options.all && options.output != "json") {
        std::cout << truth_tables(probes, answers);
    } else if (options.output == "table") {
        std::cout << as_table(probes, answers);
    } else {
        for (std::size_t i = 0; i < probes.size(); ++i) {
            std::cout << probe::format_answer(probes[i], answers[i]) << "\n";
        }
    }
}

} // namespace

void add_probe(CLI::App& lab) {
    auto options = std::make_shared<Options>();
    auto* command = lab.add_subcommand("probe", "Make real connections and say which are allowed");
    command->add_option("FILE", options->file,
                        R"(JSON lines, - for stdin: {"from":"ns/pod","to":"ns/svc:NAME","port":80,"protocol":"TCP"})");
    command->add_flag("--all", options->all, "Every pod to every pod on every declared port, as a truth table");
    auto* output =
        command->add_option("-o,--output", options->output, "json (a line for each probe) or table; --all: table")
            ->check(CLI::IsMember({"table", "json"}));
    add_name_option(*command, options->name);
    command->callback([options, output] {
        if (options->all && output->count() == 0) {
            options->output = "table";
        }
        run(*options);
    });
}

} // namespace weft::lab
