// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// `weft lab status`: nodes and pods as tables, or everything as JSON.
#include <iostream>
#include <memory>

#include "tools/lab/commands.hpp"

namespace weft::lab {
namespace {

std::string joined(const Json& list) {
    std::string text;
    for (const auto& item : list) {
        text += (text.empty() ? "" : ",") + item.get<std::string>();
    }
    return text.empty() ? "-" : text;
}

} // namespace

std::string node_table(const Json& status) {
    std::vector<std::vector<std::string>> rows{{"NODE", "AGENT", "SCHEDULING", "ZONE", "ADDRESSES", "PODS"}};
    for (const auto& node : status["nodes"]) {
        rows.push_back({node["name"].get<std::string>(), node["agent"].get<std::string>(),
                        node["unschedulable"].get<bool>() ? "cordoned" : "open", node["zone"].get<std::string>(),
                        joined(node["addresses"]), joined(node["podCIDRs"])});
    }
    return table(rows);
}

std::string pod_table(const Json& status) {
    std::vector<std::vector<std::string>> rows{
        {"NAMESPACE", "POD", "READY", "STATUS", "RESTARTS", "NODE", "IP", "MESSAGE"}};
    for (const auto& pod : status["pods"]) {
        rows.push_back({pod["namespace"].get<std::string>(), pod["name"].get<std::string>(),
                        pod["ready"].get<bool>() ? "yes" : "no", pod["phase"].get<std::string>(),
                        std::to_string(pod["restarts"].get<int>()),
                        pod["external"].get<bool>() ? "(outside)" : pod["node"].get<std::string>(), joined(pod["ips"]),
                        pod["message"].get<std::string>()});
    }
    return table(rows);
}

void add_status(CLI::App& lab) {
    auto name = std::make_shared<std::string>();
    auto output = std::make_shared<std::string>("table");
    auto* command = lab.add_subcommand("status", "Nodes, agents and pods of a lab");
    add_name_option(*command, *name);
    command->add_option("-o,--output", *output, "table or json")
        ->check(CLI::IsMember({"table", "json"}))
        ->capture_default_str();
    command->callback([name, output] {
        const auto status = need(ask(need(Names::make(*name)), Json{{"op", "status"}}));
        if (*output == "json") {
            std::cout << status.dump(2) << "\n";
        } else {
            std::cout << node_table(status) << "\n" << pod_table(status);
        }
    });
}

} // namespace weft::lab
