// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft simulate`: the answers of `weft lab probe`, from manifests alone.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>

#include "tools/probe/probe.hpp"
#include "tools/weft/command.hpp"
#include "tools/weft/simulate_cluster.hpp"

namespace weft::cli {
namespace {

struct Arguments {
    std::string manifests;
    std::string probes;
    std::string output = "json";
    int nodes = 2;
};

void print(const Arguments& arguments, const probe::Probe& probe, const probe::Answer& answer) {
    if (arguments.output == "json") {
        fmt::print("{}\n", probe::format_answer(probe, answer));
        return;
    }
    fmt::print("{:<28} {:<28} {:>5}/{:<5} {:<7} {:<14} {}\n", probe::to_string(probe.from), probe::to_string(probe.to),
               probe.port, protocol_name(probe.protocol), probe::verdict_name(answer.verdict), answer.error,
               answer.rule);
}

/// Answers every line; the number of lines that were no probes.
int answer_all(const Arguments& arguments, const simulate::Cluster& cluster, std::istream& input) {
    int malformed = 0;
    int number = 0;
    std::string line;
    if (arguments.output == "table") {
        fmt::print("{:<28} {:<28} {:>11} {:<7} {:<14} {}\n", "FROM", "TO", "PORT/PROTO", "VERDICT", "ERRNO", "RULE");
    }
    while (std::getline(input, line)) {
        ++number;
        if (line.find_first_not_of(" \t\r") == std::string::npos) {
            continue;
        }
        if (auto probe = probe::parse_probe(line)) {
            print(arguments, *probe, cluster.answer(*probe));
        } else {
            ++malformed;
            fmt::print(stderr, "weft simulate: {}:{}: {}\n", arguments.probes, number, probe.error().message());
            probe::Probe unreadable;
            unreadable.line = nlohmann::ordered_json{{"input", line}};
            probe::Answer answer;
            answer.error = probe.error().message();
            fmt::print("{}\n", probe::format_answer(unreadable, answer));
        }
    }
    return malformed;
}

void report(const std::vector<store::Refusal>& refusals) {
    for (const auto& refusal : refusals) {
        fmt::print(stderr, "weft simulate: {}:{}: {}{}{}: {}\n", refusal.origin.file, refusal.origin.line,
                   refusal.key.to_string(), refusal.field.empty() ? "" : " ", refusal.field, refusal.message);
    }
}

void run(const Arguments& arguments) {
    const auto manifests = simulate::read_manifests(arguments.manifests);
    if (!manifests) {
        fmt::print(stderr, "weft simulate: {}\n", manifests.error().message());
        throw CLI::RuntimeError(kFailed);
    }
    report(manifests->refusals);
    const simulate::Cluster cluster(manifests->objects, arguments.nodes);
    report(cluster.refusals());
    std::ifstream file;
    if (arguments.probes != "-") {
        file.open(arguments.probes);
        if (!file) {
            fmt::print(stderr, "weft simulate: {}: cannot be read; give a file of probes or - for standard input\n",
                       arguments.probes);
            throw CLI::RuntimeError(kFailed);
        }
    }
    if (answer_all(arguments, cluster, arguments.probes == "-" ? std::cin : file) > 0) {
        throw CLI::RuntimeError(kFailed);
    }
}

} // namespace

void add_simulate_command(CLI::App& weft) {
    auto arguments = std::make_shared<Arguments>();
    auto* command = weft.add_subcommand(
        "simulate", "Answer connection probes from manifests alone: no root, no kernel, no cluster");
    command->add_option("--manifests", arguments->manifests, "Folder of Kubernetes YAML")->required();
    command
        ->add_option(
            "--probes", arguments->probes,
            "File of probes, one JSON object a line ({\"from\":\"ns/pod\",\"to\":\"ns/svc:NAME\",\"port\":80}); - is "
            "standard input")
        ->required();
    command->add_option("--nodes", arguments->nodes, "Nodes, when the manifests have no Node objects")
        ->capture_default_str()
        ->check(CLI::Range(1, 250));
    command->add_option("-o,--output", arguments->output, "json or table")
        ->capture_default_str()
        ->check(CLI::IsMember({"json", "table"}));
    command->callback([arguments] { run(*arguments); });
}

} // namespace weft::cli
