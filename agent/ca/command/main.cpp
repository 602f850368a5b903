// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft-ca`: the certificate authority of a mesh, and the command that administers it.
#include "agent/ca/command/command.hpp"
#include "agent/ca/rpc/tls13.hpp"
#include "tools/weft/run.hpp"

namespace {

constexpr const char* kFooter = R"(Examples:
  weft-ca init --trust-domain cluster.local            make root and intermediate
  weft-ca serve --manifests /etc/weft/manifests        sign for nodes, until stopped
  weft-ca token create --node worker-1                 a join token for one node, shown once
  weft-ca show certificates                            what is issued and counts
  weft-ca revoke spiffe://cluster.local/ns/shop/sa/web nobody accepts this identity any more
  weft-ca rotate publish|switch|retire                 the three steps to a new root
  weft-ca issue spiffe://cluster.local/ns/ops/sa/probe --out /etc/probe

Commands talk to the weft-ca that serves the folder, or work on the folder when none does.

Exit codes:
  0 success   1 failed   2 wrong usage   3 weft-ca does not answer   4 no permission   5 no such object)";

} // namespace

int main(int argc, char** argv) {
    using namespace weft::ca;
    require_tls13();
    CLI::App app{"The certificate authority of Weft, the kernel service mesh", "weft-ca"};
    CommandGlobals globals;
    app.require_subcommand(1);
    app.footer(kFooter);
    app.set_version_flag("--version", WEFT_VERSION, "Print the version of this command");
    app.add_option("--dir", globals.folder, "Folder of the authority: keys, state, audit log")
        ->envname("WEFT_CA_DIR")
        ->option_text("DIR")
        ->capture_default_str();
    app.get_formatter()->column_width(34);
    app.fallthrough(); // --dir may stand after the subcommand as well

    add_init_command(app, globals);
    add_serve_command(app, globals);
    add_show_command(app, globals);
    add_rotate_command(app, globals);
    add_revoke_command(app, globals);
    add_token_command(app, globals);
    add_issue_command(app, globals);

    return weft::cli::run(app, argc, argv);
}
