// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft status`: health in one page, problems first to be seen and last to be read; and `weft version`.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tools/weft/client.hpp"
#include "tools/weft/page.hpp"

namespace weft::cli {
namespace {

const char* probe_text(const admin::StatusResponse& status) {
    switch (status.probe()) {
    case admin::StatusResponse::PROBE_PASSED:
        return "passed";
    case admin::StatusResponse::PROBE_FAILED:
        return "FAILED";
    default:
        return "not run";
    }
}

std::uint64_t counter(const admin::StatusResponse& status, std::string_view name) {
    for (const auto& one : status.counters()) {
        if (one.name() == name) {
            return one.value();
        }
    }
    return 0;
}

std::string status_text(const admin::StatusResponse& s, bool wide) {
    std::string out;
    auto line = [&](const char* name, const std::string& text) { out += fmt::format("{:<14}{}\n", name, text); };
    line("Node:", s.node_name());
    line("Agent:", fmt::format("{}   version {}, up {}", s.problems().empty() ? "OK" : "DEGRADED", s.version(),
                               age_text(s.uptime_seconds())));
    line("Source:", s.source().empty() ? "none" : s.source());
    line("Sync:", s.synced() ? fmt::format("{} ago   snapshot {}, policy revision {}", age_text(s.sync_age_seconds()),
                                           s.snapshot_version(), s.policy_revision())
                             : "not yet");
    line("Hooks:",
         fmt::format("{} attached at {}", s.hooks_size(), s.cgroup_path().empty() ? "no cgroup" : s.cgroup_path()));
    if (wide) {
        line("", fmt::format("{}", fmt::join(s.hooks(), " ")));
        line("Pins:", s.pin_dir());
    }
    line("Live probe:",
         s.probe_detail().empty() ? probe_text(s) : fmt::format("{}   {}", probe_text(s), s.probe_detail()));
    line("Objects:", fmt::format("{} service ports, {} endpoints, {} policies, {} identities", s.services(),
                                 s.endpoints(), s.policies(), s.identities()));
    if (s.has_mutual_tls()) {
        const auto& tls = s.mutual_tls();
        std::uint64_t failed = 0;
        for (const auto& failure : tls.failures()) {
            failed += failure.value();
        }
        line("Mutual TLS:", fmt::format("tier {}   {} opened ({} resumed), {} carried now, {} failed, {} revoked",
                                        tls.tier(), tls.opened(), tls.resumed(), tls.carried(), failed, tls.revoked()));
        if (wide || tls.tier() != "relay") {
            line("", tls.reason());
        }
        for (const auto& certificate : tls.certificates()) {
            line("", fmt::format("{}   {}, {} left, serial {}", certificate.id(), certificate.phase(),
                                 certificate.seconds_left() > 0 ? age_text(certificate.seconds_left()) : "nothing",
                                 certificate.serial().empty() ? "none" : certificate.serial()));
        }
        for (const auto& failure : tls.failures()) {
            line("", fmt::format("{:>10}  {} {}", failure.value(), failure.side(), failure.reason()));
        }
    }
    line("Connections:", fmt::format("{} opened, {} accepted, {} closed", counter(s, "connects"), counter(s, "accepts"),
                                     counter(s, "closes")));
    line("Flows:", fmt::format("{} seen, {} kept, {} lost", s.flows_seen(), s.flows_kept(), s.events_lost()));
    line("Drift:", fmt::format("{} entries repaired", s.drift_entries()));
    if (!s.drops().empty()) {
        out += "Off the normal path:\n";
        for (const auto& drop : s.drops()) {
            out += fmt::format("  {:>10}  {} {}: {}\n", drop.value(), drop.reason(), drop.direction(), drop.help());
        }
    }
    if (!s.refusals().empty()) {
        out += "Refused objects:\n";
        for (const auto& refusal : s.refusals()) {
            out += fmt::format("  {}:{}: {}{}{}: {}{}\n", refusal.file(), refusal.line(), refusal.object(),
                               refusal.field().empty() ? "" : ": ", refusal.field(), refusal.message(),
                               refusal.last_good_in_force() ? " (the last good version stays in force)" : "");
        }
    }
    if (!s.problems().empty()) {
        out += "Needs attention:\n";
        for (const auto& problem : s.problems()) {
            out += fmt::format("  - {}\n", problem);
        }
    }
    return out;
}

} // namespace

void add_status_command(CLI::App& weft, Globals& globals) {
    auto* command =
        weft.add_subcommand("status", "Is the data path healthy, and what needs attention")->group("Health");
    auto watch = std::make_shared<Watch>();
    add_output_options(*command, globals);
    add_watch_option(*command, *watch);
    command->callback([&globals, watch] {
        auto client = value_or_fail(Client::connect(globals.socket));
        bool degraded = false;
        run_watched_page(*watch, [&] {
            const auto status = value_or_fail(client.status());
            degraded = !status.problems().empty();
            return page_of(globals, status, [&] { return status_text(status, globals.format == Format::kWide); });
        });
        if (degraded) {
            throw CLI::RuntimeError(kDegraded);
        }
    });
}

void add_version_command(CLI::App& weft, Globals& globals) {
    auto* command = weft.add_subcommand("version", "Version of this command and of the agent")->group("Health");
    auto client_only = std::make_shared<bool>(false);
    command->add_flag("--client", *client_only, "Do not ask the agent");
    command->callback([&globals, client_only] {
        fmt::print("weft:  {}\n", WEFT_VERSION);
        if (*client_only) {
            return;
        }
        auto client = Client::connect(globals.socket);
        auto status = client ? client->status() : Result<admin::StatusResponse>(std::unexpected(client.error()));
        if (!status) {
            fmt::print("weftd: unknown ({})\n", status.error().message()); // this command's own version is an answer
            return;
        }
        fmt::print("weftd: {}\n", status->version());
    });
}

} // namespace weft::cli
