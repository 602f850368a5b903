// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft`: one program for everything a person asks of the mesh. Each subcommand is a file of its own; this one only
// collects them and turns the parser's outcome into an exit code.
#include "tools/weft/globals.hpp"
#include "tools/weft/run.hpp"

namespace {

constexpr const char* kFooter = R"(Examples:
  weft status                                   is the node healthy, and what needs attention
  weft service list -n shop -o wide             services with their pods
  weft endpoint list                            workloads of this node and what isolates them
  weft flows --follow --verdict DROPPED         refusals as they happen, with reason and rule
  weft flows --from-pod shop/web --last 20      the last flows that these pods opened
  weft ui                                       the map of services in a browser
  weft map dump policy                          the compiled policy as the kernel holds it
  hubble observe --server unix:///run/weft/admin.sock

Exit codes:
  0 success   1 failed   2 wrong usage   3 agent does not answer   4 no permission   5 no such object
  6 it runs, but something that is listed needs attention (status, check))";

} // namespace

int main(int argc, char** argv) {
    using namespace weft::cli;
    CLI::App app{"Look into Weft, the kernel service mesh of this node", "weft"};
    Globals globals;
    app.require_subcommand(1);
    app.footer(kFooter);
    app.set_version_flag("--version", WEFT_VERSION, "Print the version of this command");
    app.add_option("--socket", globals.socket, "Admin socket of the agent")
        ->envname("WEFT_SOCKET")
        ->option_text("PATH")
        ->capture_default_str();
    app.get_formatter()->column_width(34);
    app.fallthrough(); // --socket may stand after the subcommand as well

    add_status_command(app, globals);
    add_check_command(app, globals);
    add_version_command(app, globals);
    add_service_command(app, globals);
    add_endpoint_command(app, globals);
    add_policy_command(app, globals);
    add_identity_command(app, globals);
    add_certificate_command(app, globals);
    add_map_command(app, globals);
    add_conn_command(app, globals);
    add_flows_command(app, globals);
    add_ui_command(app, globals);
#ifdef WEFT_WITH_SIMULATE
    add_simulate_command(app);
#endif
#ifdef WEFT_WITH_LAB
    add_lab_command(app);
#endif
    add_uninstall_command(app, globals);
    add_completion_command(app);

    return run(app, argc, argv);
}
