// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft-ca init` and `weft-ca serve`: making an authority, and letting it work.
#include <signal.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#include <csignal>
#include <fstream>

#include <fmt/format.h>
#include <poll.h>

#include "agent/ca/command/command.hpp"
#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/server.hpp"

namespace weft::ca {
namespace {

constexpr int kTickMs = 60'000;

struct InitOptions {
    std::string trust_domain = "cluster.local";
    std::string workload_life, node_life, intermediate_life, root_life;
    std::string root_certificate, root_key, certificate, key;
};

struct ServeOptions {
    InitOptions init;
    std::string listen = "[::]:8443";
    std::string manifests;
};

void add_init_options(CLI::App& command, InitOptions& options) {
    command.add_option("--trust-domain", options.trust_domain, "First part of every identity: spiffe://DOMAIN/...")
        ->option_text("DOMAIN")
        ->capture_default_str();
    command.add_option("--workload-life", options.workload_life, "Life of workloads' certificates [24h]")
        ->option_text("TIME");
    command.add_option("--node-life", options.node_life, "Life of nodes' certificates [7d]")->option_text("TIME");
    command.add_option("--intermediate-life", options.intermediate_life, "Life of the intermediate [365d]")
        ->option_text("TIME");
    command.add_option("--root-life", options.root_life, "Life of the root [3650d]")->option_text("TIME");
}

std::string text_of(const std::string& path) {
    return path.empty() ? std::string() : value_or_fail(pki::read_private(path, pki::Access::kWorld));
}

Lifetimes lives_of(const InitOptions& options) {
    Lifetimes lives;
    const auto set = [](seconds& life, const std::string& text) {
        if (!text.empty()) {
            life = value_or_fail(parse_duration(text));
        }
    };
    set(lives.workload, options.workload_life);
    set(lives.node, options.node_life);
    set(lives.intermediate, options.intermediate_life);
    set(lives.root, options.root_life);
    return lives;
}

/// Makes the authority. False when there is one already.
Result<bool> init(const std::string& path, const InitOptions& options) {
    std::optional<Imported> imported;
    if (!options.root_certificate.empty()) {
        if (options.key.empty() != options.certificate.empty()) {
            return invalid("--cert and --key belong together");
        }
        if (options.certificate.empty() && options.root_key.empty()) {
            return invalid("give --root-key, or --cert and --key of an intermediate that the root signed");
        }
        const auto secret = [](const std::string& file) {
            return file.empty() ? std::string() : value_or_fail(pki::read_private(file));
        };
        imported = Imported{text_of(options.root_certificate), secret(options.root_key), text_of(options.certificate),
                            secret(options.key)};
    }
    WEFT_ASSIGN(const auto folder, StateFolder::open(path));
    const auto now = std::chrono::floor<seconds>(std::chrono::system_clock::now());
    const auto made = Authority::create(folder, options.trust_domain, lives_of(options), now, imported);
    if (!made) {
        return made.error().code() == EEXIST ? Result<bool>(false) : std::unexpected(made.error());
    }
    return true;
}

Result<> serve(const std::string& path, const ServeOptions& options) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr); // before gRPC's threads begin: they inherit it
    std::signal(SIGPIPE, SIG_IGN);
    const UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC));
    if (!signals.valid()) {
        return system_failure("signalfd");
    }
    WEFT_ASSIGN(const bool made, init(path, options.init));
    WEFT_ASSIGN(const auto server, Server::start({path, options.listen, options.manifests, {}}));
    fmt::print(stderr, "event=ready dir={} {} listen={} port={} version={}\n", path, made ? "authority=new" : "",
               options.listen, server->port(), WEFT_VERSION);
    (void)sd_notify(0, "READY=1"); // without systemd there is nobody to tell
    pollfd ready{signals.get(), POLLIN, 0};
    while (::poll(&ready, 1, kTickMs) == 0) {
        if (auto done = server->tick(); !done) {
            fmt::print(stderr, "event=upkeep-failed effect=\"tried again in a minute\" error=\"{}\"\n",
                       done.error().message());
        }
    }
    (void)sd_notify(0, "STOPPING=1");
    fmt::print(stderr, "event=stopping\n");
    return {};
}

} // namespace

void add_init_command(CLI::App& app, CommandGlobals& globals) {
    auto options = std::make_shared<InitOptions>();
    auto* command = app.add_subcommand("init", "Make an authority in --dir: a new one, or from existing files");
    add_init_options(*command, *options);
    command->add_option("--root-cert", options->root_certificate, "Import: certificate of the root, PEM")
        ->option_text("FILE");
    command->add_option("--root-key", options->root_key, "Import: its key; without it roots cannot be rotated here")
        ->option_text("FILE");
    command->add_option("--cert", options->certificate, "Import: certificate of the intermediate")->option_text("FILE");
    command->add_option("--key", options->key, "Import: key of the intermediate")->option_text("FILE");
    cli::add_output_options(*command, globals.output);
    command->callback([&globals, options] {
        if (!value_or_fail(init(globals.folder, *options))) {
            ca::fail(cli::kFailed, fmt::format("{}: there is an authority already", globals.folder));
        }
        print_state(globals, value_or_fail(value_or_fail(Client::open(globals.folder))->show()));
    });
}

void add_serve_command(CLI::App& app, CommandGlobals& globals) {
    auto options = std::make_shared<ServeOptions>();
    auto* command = app.add_subcommand("serve", "Sign for nodes until stopped; makes the authority at first start");
    add_init_options(*command, options->init);
    command->add_option("--listen", options->listen, "Address for nodes")
        ->option_text("ADDRESS:PORT")
        ->capture_default_str();
    command
        ->add_option("--manifests", options->manifests,
                     "Folder of Kubernetes YAML that says which pods run on which node")
        ->option_text("DIR");
    command->callback([&globals, options] { value_or_fail(serve(globals.folder, *options)); });
}

} // namespace weft::ca
