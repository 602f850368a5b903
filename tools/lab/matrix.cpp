// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/lab/matrix.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace weft::lab {

std::vector<probe::Probe> all_probes(const Json& status) {
    std::set<std::pair<std::string, std::uint16_t>> ports;
    std::vector<probe::PodEnd> pods;
    for (const auto& pod : status["pods"]) {
        if (pod["ips"].empty() || pod["phase"] == "Terminating") {
            continue;
        }
        pods.push_back({pod["namespace"].get<std::string>(), pod["name"].get<std::string>()});
        for (const auto& port : pod["ports"]) {
            ports.emplace(port["protocol"].get<std::string>(), port["port"].get<std::uint16_t>());
        }
    }
    std::vector<probe::Probe> probes;
    for (const auto& [protocol, port] : ports) {
        for (const auto& from : pods) {
            for (const auto& to : pods) {
                probe::Probe probe{.from = from,
                                   .to = to,
                                   .port = port,
                                   .protocol = protocol_number(protocol).value_or(6),
                                   .line = {}};
                probe.line = Json{{"from", to_string(probe.from)},
                                  {"to", to_string(probe.to)},
                                  {"port", port},
                                  {"protocol", protocol}};
                probes.push_back(std::move(probe));
            }
        }
    }
    return probes;
}

std::string truth_tables(const std::vector<probe::Probe>& probes, const std::vector<probe::Answer>& answers) {
    using Cells = std::map<std::string, std::map<std::string, char>>;
    std::map<std::pair<std::string, std::uint16_t>, Cells> tables;
    std::set<std::string> names;
    std::map<probe::Verdict, std::size_t> counts;
    for (std::size_t i = 0; i < probes.size(); ++i) {
        const auto& probe = probes[i];
        const auto verdict = answers[i].verdict;
        const char cell = verdict == probe::Verdict::kAllow ? '.' : verdict == probe::Verdict::kDeny ? 'X' : '#';
        tables[{protocol_name(probe.protocol), probe.port}][to_string(probe.from)][to_string(probe.to)] = cell;
        names.insert({to_string(probe.from), to_string(probe.to)});
        ++counts[verdict];
    }
    std::size_t widest = 0;
    for (const auto& name : names) {
        widest = std::max(widest, name.size());
    }
    std::string text;
    for (const auto& [port, cells] : tables) {
        text += fmt::format("{} {}\n{:<{}}", port.first, port.second, "from \\ to", widest);
        for (const auto& to : names) {
            text += fmt::format("  {}", to);
        }
        text += "\n";
        for (const auto& [from, row] : cells) {
            text += fmt::format("{:<{}}", from, widest);
            for (const auto& to : names) {
                const auto found = row.find(to);
                text += fmt::format("  {:<{}}", found != row.end() ? found->second : ' ', to.size());
            }
            text.erase(text.find_last_not_of(' ') + 1);
            text += "\n";
        }
        text += "\n";
    }
    return text + fmt::format("{} allowed (.)   {} denied (X)   {} errors (#)\n", counts[probe::Verdict::kAllow],
                              counts[probe::Verdict::kDeny], counts[probe::Verdict::kError]);
}

} // namespace weft::lab
