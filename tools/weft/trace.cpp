// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft conn trace`: the life of a pod's next connections, each step with its time, as it becomes known.
#include <cstdio>
#include <map>

#include <fmt/format.h>
#include <google/protobuf/util/time_util.h>

#include "tools/weft/client.hpp"
#include "tools/weft/conn_commands.hpp"
#include "tools/weft/page.hpp"

namespace weft::cli {
namespace {

constexpr const char* kFooter =
    "Steps, in the order of a connection by mutual TLS (one in plaintext has those of the kernel only):\n"
    "  connect                kernel: the application called connect; what it asked for, what it got, and by which "
    "rule\n"
    "  established            kernel: its connection stands, to the peer or to this node's agent\n"
    "  accepted               the agent has it, from the application (client) or from the peer (server)\n"
    "  dialled                client: the agent began to connect to the peer\n"
    "  handshake-begun        the connection between the nodes stands, and the handshake begins\n"
    "  plaintext              server: the first bytes are no handshake, and the workload takes that\n"
    "  peer-proven            the peer's identity, by its certificate or with the session that is to be resumed, may "
    "be\n"
    "                         at its address\n"
    "  handshake-done         cipher, key exchange, and whether an earlier session was resumed\n"
    "  application-connected  server: the application has taken its connection\n"
    "  keys-installed         the kernel encrypts from now on\n"
    "  carried                bytes may flow, and who moves them\n"
    "  relay-took             weft-relay has it: it goes on without the agent\n"
    "  first-byte-sent, first-byte-received\n"
    "                         kernel: the workload's first payload each way\n"
    "  failed                 why there is no connection\n"
    "  denied, refused        kernel: by policy, or as there is no backend\n"
    "  ended                  who moved the bytes is done with it, and why\n"
    "  closed                 kernel: by whom, and the bytes each way\n"
    "-o json prints one TraceStep of admin.proto a line. Exit code 1: no connection came in time.";

struct Options {
    std::string pod;
    std::uint32_t count = 1;
    double timeout_seconds = 60;
    std::uint16_t port = 0;
};

admin::TraceConnectionsRequest make_request(const Options& options) {
    const auto slash = options.pod.find('/');
    if (slash == 0 || slash == std::string::npos || slash + 1 == options.pod.size()) {
        fail(kUsage, fmt::format("'{}' is not NAMESPACE/POD", options.pod));
    }
    admin::TraceConnectionsRequest request;
    request.set_namespace_(options.pod.substr(0, slash));
    request.set_pod(options.pod.substr(slash + 1));
    request.set_count(options.count);
    request.set_timeout_seconds(options.timeout_seconds);
    request.set_port(options.port);
    return request;
}

void print(const admin::TraceStep& step, bool first, const Globals& globals) {
    switch (globals.format) {
    case Format::kJson:
        return fmt::print("{}\n", to_json_line(step));
    case Format::kYaml:
        return fmt::print("---\n{}", to_yaml(to_json(step)));
    case Format::kTable:
    case Format::kWide:
        break;
    }
    const auto at = google::protobuf::util::TimeUtil::ToString(step.time());
    if (first && !globals.no_headers) {
        fmt::print("Connection {}: {} {} {} {}{}, {}\n", step.connection(), step.role(), step.local(),
                   step.role() == "client" ? "\u2192" : "\u2190", step.remote(),
                   step.peer().empty() ? "" : " (" + step.peer() + ")", at);
    }
    const auto when = globals.format == Format::kWide ? at : fmt::format("{:+.3f}ms", step.since_begin_seconds() * 1e3);
    fmt::print("{:>3} {:>12}  {:<10}  {:<22} {}\n", step.connection(), when, step.by(), step.step(), step.detail());
}

void run(const Globals& globals, const Options& options) {
    const auto request = make_request(options);
    auto client = value_or_fail(Client::connect(globals.socket));
    std::uint32_t seen = 0;
    value_or_fail(client.trace(request, [&](const admin::TraceStep& step) {
        if (step.connection() == 0) {
            fmt::print(stderr, "weft: {}\n", step.detail());
            return;
        }
        print(step, step.connection() > seen, globals);
        seen = std::max(seen, step.connection());
        (void)std::fflush(stdout); // a reader that went away ends us by SIGPIPE
    }));
    if (seen == 0) {
        throw CLI::RuntimeError(kFailed); // the agent's last word has said why
    }
}

} // namespace

void add_conn_trace_command(CLI::App& conn, Globals& globals) {
    auto* command = conn.add_subcommand("trace", "Waits for a pod's next connections, and tells each one's life");
    auto options = std::make_shared<Options>();
    command->add_option("POD", options->pod, "A pod of this node, as NAMESPACE/NAME")->required();
    command->add_option("--count", options->count, "So many connections")
        ->option_text("N")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    command->add_option("--timeout", options->timeout_seconds, "So long at most: 90, 90s, 5m, 1h (default 60s)")
        ->option_text("TIME")
        ->transform(CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1}, {"m", 60}, {"h", 3600}},
                                          CLI::AsNumberWithUnit::CASE_SENSITIVE, "TIME"))
        ->check(CLI::Range(0.001, 3600.0));
    command->add_option("--port", options->port, "Only connections to this port of the server's")->option_text("PORT");
    add_output_options(*command, globals);
    command->footer(kFooter);
    command->callback([&globals, options] { run(globals, *options); });
}

} // namespace weft::cli
