// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft lab exec` and `logs`: looking into a pod.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iostream>
#include <memory>

#include "tools/lab/commands.hpp"
#include "tools/lab/process.hpp"

namespace weft::lab {
namespace {

struct Options {
    std::string name;
    std::string pod;
    std::string node;
    bool follow = false;
    std::vector<std::string> command;
};

/// Becomes the program: its exit code and signals are the command's own.
void exec(Options options) {
    need_root();
    Json request{{"op", "exec"}};
    if (!options.node.empty()) {
        // CLI11 put the first word of the command into POD.
        if (!options.pod.empty()) {
            options.command.insert(options.command.begin(), options.pod);
        }
        request["node"] = options.node;
    } else {
        const auto [space, pod] = need(parse_pod(options.pod));
        request["namespace"] = space;
        request["name"] = pod;
    }
    if (options.command.empty()) {
        fail(Error(EINVAL, "what is to be run? `weft lab exec NS/POD -- COMMAND`"));
    }
    const auto place = need(ask(need(Names::make(options.name)), request));
    Launch what{.argv = options.command,
                .netns = place["netns"].get<std::string>(),
                .cgroup = place["cgroup"].get<std::string>(),
                .hostname = place.value("hostname", ""),
                .hosts_file = place.value("hosts", ""),
                .tmp_dir = place.value("tmp", "")};
    for (const auto& entry : place.value("env", Json::array())) {
        what.env.push_back(entry.get<std::string>());
    }
    if (const char* terminal = ::getenv("TERM"); terminal != nullptr && !what.env.empty()) {
        what.env.push_back(fmt::format("TERM={}", terminal));
    }
    const auto failed = become(what);
    std::cerr << "weft lab: " << failed.error().message() << "\n";
    throw CLI::RuntimeError(failed.error().code() == ENOENT ? 127 : 126); // as a shell has it
}

void logs(const Options& options) {
    const auto names = need(Names::make(options.name));
    const auto [space, pod] = need(parse_pod(options.pod));
    const auto status = need(ask(names, Json{{"op", "status"}}));
    std::string path;
    for (const auto& known : status["pods"]) {
        if (known["namespace"] == space && known["name"] == pod) {
            path = known["log"].get<std::string>();
        }
    }
    if (path.empty()) {
        fail(Error(ENOENT, fmt::format("there is no pod {}/{} (`weft lab status` lists them)", space, pod)));
    }
    const UniqueFd log(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    std::array<char, 65536> block{};
    while (log.valid()) {
        const auto got = ::read(log.get(), block.data(), block.size());
        if (got > 0) {
            std::cout.write(block.data(), got).flush();
        } else if (!options.follow || !std::cout || ::access(path.c_str(), F_OK) != 0) {
            return; // with -f: until the pod is gone
        } else {
            (void)::poll(nullptr, 0, 100);
        }
    }
}

} // namespace

void add_exec(CLI::App& lab) {
    auto options = std::make_shared<Options>();
    auto* command = lab.add_subcommand("exec", "Run a command in a pod: weft lab exec NS/POD -- CMD");
    command->add_option("NS/POD", options->pod, "The pod");
    command->add_option("CMD", options->command, "The command and its arguments, after --");
    command->add_option("--node", options->node, "Run on this node instead of in a pod");
    command->positionals_at_end(false);
    add_name_option(*command, options->name);
    command->callback([options] { exec(*options); });

    auto log_options = std::make_shared<Options>();
    auto* log = lab.add_subcommand("logs", "What a pod's container has written");
    log->add_option("NS/POD", log_options->pod, "The pod")->required();
    log->add_flag("-f,--follow", log_options->follow, "Go on until the pod is gone");
    add_name_option(*log, log_options->name);
    log->callback([log_options] { logs(*log_options); });
}

} // namespace weft::lab
