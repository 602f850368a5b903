// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft lab up`: starts the supervisor, hands it the manifests, and waits until every pod is ready.
#include <poll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <sstream>

#include "tools/lab/addressing.hpp"
#include "tools/lab/cgroup.hpp"
#include "tools/lab/cleanup.hpp"
#include "tools/lab/commands.hpp"
#include "tools/lab/process.hpp"
#include "tools/lab/supervisor.hpp"

namespace weft::lab {
namespace {

using Clock = std::chrono::steady_clock;

struct UpOptions {
    std::string folder;
    std::string name;
    int nodes = 2;
    int timeout_seconds = 60;
    bool without_mesh = false;
    std::vector<std::string> agent; ///< KEY=VALUE for weftd
};

void pause_briefly() {
    (void)::poll(nullptr, 0, 20);
}

Result<> start_supervisor(const Names& names) {
    std::error_code error;
    std::filesystem::create_directories(names.run_dir(), error);
    if (error) {
        return failure(error.value(), "cannot make {}: {}", names.run_dir(), error.message());
    }
    WEFT_ASSIGN(const auto cgroup, cgroup_path(names.supervisor_cgroup()));
    WEFT_TRY(create_cgroup(cgroup));
    WEFT_ASSIGN(const auto child, launch({.argv = {"/proc/self/exe", "lab", "supervise", "--name", names.lab()},
                                          .cgroup = cgroup,
                                          .log_file = names.supervisor_log(),
                                          .new_session = true}));
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    while (!supervisor_alive(names)) {
        pollfd ended{child.pidfd.get(), POLLIN, 0};
        if (::poll(&ended, 1, 20) > 0 || Clock::now() > deadline) {
            std::ifstream log(names.supervisor_log());
            std::stringstream text;
            text << log.rdbuf();
            return failure(EIO, "the lab's supervisor did not start: {}", text.str());
        }
    }
    return {};
}

/// What is still missing, one line each; empty when the lab is up.
std::vector<std::string> missing(const Json& status) {
    std::vector<std::string> lines;
    for (const auto& node : status["nodes"]) {
        if (!node["agentReady"].get<bool>()) {
            lines.push_back(fmt::format("node {}: agent {} (log: {})", node["name"].get<std::string>(),
                                        node["agent"].get<std::string>(), node["log"].get<std::string>()));
        }
    }
    for (const auto& pod : status["pods"]) {
        if (!pod["ready"].get<bool>()) {
            lines.push_back(fmt::format("pod {}/{}: {}: {} (log: {})", pod["namespace"].get<std::string>(),
                                        pod["name"].get<std::string>(), pod["phase"].get<std::string>(),
                                        pod["message"].get<std::string>(), pod["log"].get<std::string>()));
        }
    }
    if (lines.empty() && status["pods"].size() < status["wanted"].get<std::size_t>()) {
        lines.emplace_back("pods are being created");
    }
    return lines;
}

void up(const UpOptions& options) {
    const auto names = need(Names::make(options.name));
    need_root();
    if (supervisor_alive(names)) {
        fail(Error(EEXIST, fmt::format("lab '{0}' is up already: change it with `weft lab apply DIR --name {0}`, or "
                                       "end it with `weft lab down --name {0}`",
                                       options.name)));
    }
    const auto files = read_manifests(options.folder);
    if (exists(names)) {
        std::cerr << fmt::format("note: removing what an earlier lab '{}' left behind\n", options.name);
        need(destroy(names));
    }
    need(ensure_bpffs());
    auto started = start_supervisor(names);
    if (started) {
        const auto answer = ask(names, Json{{"op", "up"},
                                            {"nodes", options.nodes},
                                            {"mesh", !options.without_mesh},
                                            {"agent", options.agent},
                                            {"files", files}});
        started = answer ? Result<>() : std::unexpected(answer.error());
    }
    if (!started) {
        (void)destroy(names); // the failure to start is what the user needs to hear
        fail(started.error());
    }
    const auto deadline = Clock::now() + std::chrono::seconds(options.timeout_seconds);
    for (;;) {
        const auto status = need(ask(names, Json{{"op", "status"}}));
        const auto lines = missing(status);
        if (lines.empty()) {
            std::cout << node_table(status) << "\n" << pod_table(status);
            return;
        }
        if (Clock::now() > deadline) {
            for (const auto& line : lines) {
                std::cerr << line << "\n";
            }
            fail(Error(ETIMEDOUT, fmt::format("not everything is ready after {} s; the lab is left running: look at "
                                              "`weft lab logs NS/POD --name {}`",
                                              options.timeout_seconds, options.name)));
        }
        pause_briefly();
    }
}

} // namespace

void add_up(CLI::App& lab) {
    auto options = std::make_shared<UpOptions>();
    auto* command = lab.add_subcommand("up", "Start a lab and wait until its pods are ready");
    command->add_option("DIR", options->folder, "Folder (or file) of Kubernetes YAML")->required();
    command->add_option("--nodes", options->nodes, "How many nodes, when the manifests have no Node objects")
        ->capture_default_str()
        ->check(CLI::Range(1, kMostNodes));
    command->add_option("--timeout", options->timeout_seconds, "Seconds to wait for the pods")->capture_default_str();
    command->add_flag("--without-mesh", options->without_mesh,
                      "The same cluster without weftd and weft-cni, to compare");
    command
        ->add_option("--agent", options->agent,
                     "A setting of every node's weftd, as KEY=VALUE; identity_files or workload_api replaces weft-ca")
        ->option_text("KEY=VALUE")
        ->allow_extra_args(false);
    add_name_option(*command, options->name);
    command->callback([options] { up(*options); });

    auto name = std::make_shared<std::string>();
    auto* supervisor = lab.add_subcommand("supervise", "The process behind a lab")->group("");
    add_name_option(*supervisor, *name);
    supervisor->callback([name] { need(supervise(need(Names::make(*name)))); });

    // What a pod without a command runs: an image would have one, and the lab has no images.
    lab.add_subcommand("pause", "Wait until SIGTERM")->group("")->callback([] { ::pause(); });
}

} // namespace weft::lab
