// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft ui`: the service map of one or many nodes in a browser.
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>

#include <fmt/format.h>

#include "tools/weft/globals.hpp"
#include "tools/weft/ui/agent_feed.hpp"
#include "tools/weft/ui/clock.hpp"
#include "tools/weft/ui/web_server.hpp"

namespace weft::cli {
namespace {

struct Options {
    std::vector<std::string> sockets, hosts;
    std::string lab, listen = "127.0.0.1:4680";
};

/// Sockets of a lab's agents, in order of the nodes' names.
std::vector<std::string> lab_sockets(const std::string& lab) {
    const auto folder = std::filesystem::path("/run/weft/lab") / lab / "nodes";
    std::vector<std::string> out;
    std::error_code error;
    for (const auto& node : std::filesystem::directory_iterator(folder, error)) {
        out.push_back((node.path() / "admin.sock").string());
    }
    if (out.empty()) {
        fail(kNotFound, fmt::format("no lab '{}' runs here; `weft lab list` names those that do", lab));
    }
    std::ranges::sort(out);
    return out;
}

std::string dump(const nlohmann::json& json) {
    // Names come from objects of the cluster; what is not UTF-8 in them is replaced rather than refused.
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void run(const Globals& globals, Options& options) {
    if (!options.lab.empty()) {
        const auto more = lab_sockets(options.lab);
        options.sockets.insert(options.sockets.end(), more.begin(), more.end());
    }
    if (options.sockets.empty()) {
        options.sockets.push_back(globals.socket);
    }
    // Before any thread begins, so that all of them leave these signals to this one.
    sigset_t ends;
    ::sigemptyset(&ends);
    ::sigaddset(&ends, SIGINT);
    ::sigaddset(&ends, SIGTERM);
    (void)::pthread_sigmask(SIG_BLOCK, &ends, nullptr); // fails only for a bad first argument
    (void)std::signal(SIGPIPE, SIG_IGN);                // a browser may go away in the middle of an answer

    const bool many = options.sockets.size() > 1;
    for (const auto& socket : options.sockets) {
        // One agent that is away is worth an error now; of many, the page shows who is.
        if (const auto client = Client::connect(socket); !client && !many) {
            value_or_fail(Result<>(std::unexpected(client.error())));
        }
    }
    ui::ServiceGraph graph;
    std::vector<std::unique_ptr<ui::AgentFeed>> feeds;
    for (std::size_t i = 0; i < options.sockets.size(); ++i) {
        feeds.push_back(std::make_unique<ui::AgentFeed>(options.sockets[i], i, graph));
    }
    const auto key = value_or_fail(ui::make_key());
    const auto server =
        value_or_fail(ui::WebServer::start({.listen = options.listen, .hosts = options.hosts, .key = key},
                                           {.graph =
                                                [&] {
                                                    auto page = graph.graph(ui::now_seconds());
                                                    page["agents"] = nlohmann::json::array();
                                                    for (const auto& feed : feeds) {
                                                        page["agents"].push_back(feed->state());
                                                    }
                                                    return dump(page);
                                                },
                                            .edge = [&](const std::string& id) -> std::optional<std::string> {
                                                const auto found = graph.edge(id, ui::now_seconds());
                                                return found ? std::optional(dump(*found)) : std::nullopt;
                                            }}));
    const auto address = options.listen.substr(0, options.listen.rfind(':'));
    fmt::print("Open http://{}:{}/#key={} in a browser on this machine. The key is good for this run only; Ctrl-C "
               "ends it.\n",
               address, server.port(), key);
    (void)std::fflush(stdout); // a script may wait for the line
    int signal = 0;
    (void)::sigwait(&ends, &signal); // fails only for a bad set
}

} // namespace

void add_ui_command(CLI::App& weft, Globals& globals) {
    auto* command =
        weft.add_subcommand("ui", "The map of services in a browser: who talks to whom, how much, and who is refused")
            ->group("Observe");
    auto o = std::make_shared<Options>();
    command->add_option("--socket", o->sockets, "Admin socket of an agent; several times for several nodes")
        ->option_text("PATH");
    command->add_option("--lab", o->lab, "All nodes of this lab of `weft lab`")->option_text("NAME");
    command->add_option("--listen", o->listen, "Where to serve the page; port 0 takes any that is free")
        ->option_text("ADDRESS:PORT")
        ->capture_default_str();
    command
        ->add_option("--allow-host", o->hosts,
                     "Also answer browsers that call this machine so; needed to listen on more than loopback, which "
                     "is not encrypted")
        ->option_text("NAME");
    command->footer("The address that is printed ends in a key; without it the page shows nothing. Nothing can be "
                    "changed from the page.\n"
                    "From another machine: ssh -L 4680:127.0.0.1:4680 NODE, then open the address there. More nodes "
                    "than this one:\n"
                    "ssh -fNL /tmp/node-2.sock:/run/weft/admin.sock NODE-2, and --socket /tmp/node-2.sock.");
    command->callback([&globals, o] { run(globals, *o); });
}

} // namespace weft::cli
