// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft lab down` and `list`.
#include <iostream>
#include <memory>

#include "tools/lab/cleanup.hpp"
#include "tools/lab/commands.hpp"

namespace weft::lab {
namespace {

void take_down(const Names& names) {
    (void)ask(names, Json{{"op", "quit"}}); // lets the supervisor reap its children; a crashed one need not answer
    need(destroy(names));
    std::cout << fmt::format("lab '{}' is gone\n", names.lab());
}

void down(const std::string& name, bool all) {
    need_root();
    if (!all) {
        const auto names = need(Names::make(name));
        if (!exists(names)) {
            fail(Error(ENOENT, fmt::format("there is no lab '{}' (`weft lab list` shows them)", name)));
        }
        take_down(names);
        return;
    }
    for (const auto& lab : list_labs()) {
        take_down(need(Names::make(lab)));
    }
}

void list() {
    std::vector<std::vector<std::string>> rows{{"NAME", "STATE", "NODES", "PODS"}};
    for (const auto& lab : list_labs()) {
        const auto names = Names::make(lab);
        const auto status = names ? ask(*names, Json{{"op", "status"}}) : std::unexpected(names.error());
        if (status) {
            rows.push_back(
                {lab, "up", std::to_string((*status)["nodes"].size()), std::to_string((*status)["pods"].size())});
        } else {
            rows.push_back({lab, "broken: weft lab down --name " + lab, "-", "-"});
        }
    }
    std::cout << table(rows);
}

} // namespace

void add_down(CLI::App& lab) {
    auto name = std::make_shared<std::string>();
    auto all = std::make_shared<bool>(false);
    auto* command = lab.add_subcommand("down", "Remove a lab and everything it made");
    command->add_flag("--all", *all, "Every lab on this machine");
    add_name_option(*command, *name);
    command->callback([name, all] { down(*name, *all); });

    lab.add_subcommand("list", "The labs on this machine")->callback(list);
}

} // namespace weft::lab
