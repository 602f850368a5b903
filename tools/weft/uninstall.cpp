// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft uninstall`: takes the data path out of the kernel. Works without an agent, because the data path does, too.
#include <unistd.h>

#include <fmt/format.h>

#include "agent/bpf/uninstall.hpp"
#include "tools/weft/client.hpp"
#include "tools/weft/globals.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::cli {
namespace {

struct Options {
    std::string pin_dir = "/sys/fs/bpf/weft";
    bool force = false;
};

void run(const Globals& globals, const Options& options) {
    if (::geteuid() != 0) {
        fail(kNoPermission, "uninstall removes kernel hooks: run it as root");
    }
    if (const auto fd = connect_socket(globals.socket); fd) {
        const UniqueFd close_it(*fd);
        if (!options.force) {
            fail(
                kFailed,
                fmt::format("the agent is running on {} and would put everything back at its next start: stop it first "
                            "(systemctl stop weftd), or give --force",
                            globals.socket));
        }
    }
    value_or_fail(bpf::uninstall(options.pin_dir));
    fmt::print("Removed all hooks and maps below {}. Services and policy no longer act on this node.\n",
               options.pin_dir);
}

} // namespace

void add_uninstall_command(CLI::App& weft, Globals& globals) {
    auto* command =
        weft.add_subcommand("uninstall", "Detach every hook and remove every map of this node")->group("Manage");
    auto options = std::make_shared<Options>();
    command->add_option("--pin-dir", options->pin_dir, "Directory of the pins, as the agent has it")
        ->option_text("DIR")
        ->capture_default_str();
    command->add_flag("--force", options->force, "Even while the agent runs");
    command->callback([&globals, options] { run(globals, *options); });
}

} // namespace weft::cli
