// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weftd: reads the configuration, starts the agent, and runs the control loop until a signal. The data path stays in
// the kernel when this program ends; only `weft uninstall` removes it.
#include <csignal>
#include <pthread.h>
#include <sys/signalfd.h>

#include <cstdio>
#include <filesystem>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "agent/app/agent.hpp"
#include "agent/app/memory.hpp"
#include "agent/app/service_manager.hpp"
#include "agent/app/services.hpp"
#include "agent/ca/rpc/tls13.hpp"

namespace {

using namespace weft;

enum ExitCode : int { kStopped = 0, kFailed = 1, kConfiguration = 2 };

/// TERM and INT as a descriptor, blocked in every thread.
Result<UniqueFd> signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
    UniqueFd fd(::signalfd(-1, &set, SFD_CLOEXEC));
    if (!fd.valid()) {
        return system_failure("signalfd");
    }
    return fd;
}

Result<> run(const app::Options& options) {
    // Here, and before anything is touched: where a package is built it need not be there.
    if (std::error_code error; !std::filesystem::is_directory(options.manifests, error)) {
        return invalid("manifests: '{}' is no folder; make it, or give another one", options.manifests);
    }
    WEFT_ASSIGN(const auto signal_fd, signals());
    WEFT_ASSIGN(auto loop, app::Loop::create());
    WEFT_ASSIGN(const auto agent, app::Agent::start(options, loop));
    WEFT_ASSIGN(const auto services, app::Services::start(options, loop, *agent));
    WEFT_TRY(loop.watch(signal_fd.get(), [&] {
        spdlog::info("event=stopping effect=\"the data path stays in place\"");
        loop.stop();
    }));
    if (const auto timeout = app::watchdog_timeout(); timeout.count() > 1) {
        loop.every(timeout / 2, [] { app::notify_service_manager("WATCHDOG=1"); });
    }
    app::notify_service_manager("READY=1");
    services->set_ready(true);
    app::release_startup_memory();
    spdlog::info("event=ready node={} version={}", options.node_name, WEFT_VERSION);
    WEFT_TRY(loop.run());
    services->set_ready(false);
    app::notify_service_manager("STOPPING=1");
    return {};
}

} // namespace

int main(int argc, char** argv) {
    weft::app::limit_heaps();
    weft::ca::require_tls13();
    const auto invocation = weft::app::parse_options({argv + 1, argv + argc});
    if (!invocation) {
        std::fprintf(stderr, "weftd: %s\n", invocation.error().message().c_str());
        return kConfiguration;
    }
    if (!invocation->help.empty()) {
        std::fputs(invocation->help.c_str(), stdout);
        return kStopped;
    }
    if (invocation->version) {
        std::puts("weftd " WEFT_VERSION);
        return kStopped;
    }
    if (invocation->check_config) {
        std::fputs(weft::app::describe(invocation->options).c_str(), stdout);
        return kStopped;
    }
    spdlog::set_default_logger(spdlog::stderr_logger_mt("weftd"));
    spdlog::set_pattern("time=%Y-%m-%dT%H:%M:%S.%e level=%l %v");
    spdlog::set_level(spdlog::level::from_str(invocation->options.log_level));
    if (const auto result = run(invocation->options); !result) {
        spdlog::critical("event=failed error=\"{}\"", result.error().message());
        return kFailed;
    }
    return kStopped;
}
