// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The subcommands that change a running lab.
#include <iostream>
#include <memory>

#include "tools/lab/commands.hpp"

namespace weft::lab {
namespace {

struct Options {
    std::string name;
    std::string target;
    int replicas = 1;
};

Json ask_lab(const Options& options, const Json& request) {
    return need(ask(need(Names::make(options.name)), request));
}

void apply(const Options& options, const char* op) {
    const auto answer = ask_lab(options, Json{{"op", op}, {"files", read_manifests(options.target)}});
    for (const auto& line : answer["lines"]) {
        std::cout << line.get<std::string>() << "\n";
    }
}

void scale(const Options& options) {
    const auto [space, name] = need(parse_pod(options.target));
    ask_lab(options, Json{{"op", "scale"}, {"namespace", space}, {"name", name}, {"replicas", options.replicas}});
    std::cout << fmt::format("Deployment {}/{} scaled to {}\n", space, name, options.replicas);
}

void kill_pod(const Options& options) {
    const auto [space, name] = need(parse_pod(options.target));
    ask_lab(options, Json{{"op", "kill"}, {"namespace", space}, {"name", name}});
    std::cout << fmt::format("Pod {}/{}: its container is killed, and restarted with back-off\n", space, name);
}

/// A subcommand with one positional argument.
void add(CLI::App& lab, const char* verb, const char* help, const char* what, const char* what_help,
         const std::function<void(const Options&)>& run, bool with_replicas = false) {
    auto options = std::make_shared<Options>();
    auto* command = lab.add_subcommand(verb, help);
    command->add_option(what, options->target, what_help)->required();
    if (with_replicas) {
        command->add_option("N", options->replicas, "How many pods")->required()->check(CLI::Range(0, 1000));
    }
    add_name_option(*command, options->name);
    command->callback([options, run] { run(*options); });
}

} // namespace

void add_changes(CLI::App& lab) {
    add(lab, "apply", "Create or change the objects of a folder or file", "DIR|FILE", "Kubernetes YAML",
        [](const Options& options) { apply(options, "apply"); });
    add(lab, "delete", "Delete the objects of a folder or file", "DIR|FILE", "Kubernetes YAML",
        [](const Options& options) { apply(options, "delete"); });
    add(lab, "scale", "Change how many pods a Deployment has", "NS/DEPLOYMENT", "The Deployment", scale, true);
    add(lab, "kill", "SIGKILL a pod's container, as a crash would", "NS/POD", "The pod", kill_pod);
    add(lab, "kill-agent", "SIGKILL a node's weftd, and leave it dead", "NODE", "The node", [](const Options& options) {
        ask_lab(options, Json{{"op", "agent"}, {"node", options.target}, {"run", false}});
        std::cout << fmt::format("node {}: agent killed; `weft lab restart-agent {}` starts it again\n", options.target,
                                 options.target);
    });
    add(lab, "restart-agent", "Start a node's weftd again", "NODE", "The node", [](const Options& options) {
        ask_lab(options, Json{{"op", "agent"}, {"node", options.target}, {"run", true}});
        std::cout << fmt::format("node {}: agent started\n", options.target);
    });
    for (const bool on : {true, false}) {
        add(lab, on ? "cordon" : "uncordon", on ? "Take no new pods on a node" : "Take new pods on a node again",
            "NODE", "The node", [on](const Options& options) {
                ask_lab(options, Json{{"op", "cordon"}, {"node", options.target}, {"on", on}});
                std::cout << fmt::format("node {} {}\n", options.target, on ? "cordoned" : "uncordoned");
            });
    }
}

} // namespace weft::lab
