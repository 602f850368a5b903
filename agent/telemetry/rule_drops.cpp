// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/telemetry/rule_drops.hpp"

#include <set>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "agent/telemetry/reasons.hpp"

namespace weft::telemetry {

std::vector<RuleDropsSeries> RuleDropsNames::series(const compiler::DesiredState& desired,
                                                    const std::vector<bpf::RuleDrops>& all) {
    std::map<std::uint64_t, std::string> known;
    std::map<std::tuple<std::string, std::string, std::string>, std::uint64_t> sums;
    for (const auto& one : all) {
        auto& name = known[one.key.policy];
        if (name.empty()) {
            if (const auto old = names_.find(one.key.policy); old != names_.end()) {
                name = old->second;
            }
            const auto* names = desired.names.get();
            if (names != nullptr && names->policies.contains(one.key.policy)) {
                name = fmt::format("{}", fmt::join(names->policies.at(one.key.policy).selected_by, ","));
            }
        }
        sums[{std::string(reason_label(one.key.reason)), std::string(direction_label(one.key.direction)),
              name.empty() ? "unknown" : name}] += one.count;
    }
    names_ = std::move(known);
    std::vector<RuleDropsSeries> out;
    for (const auto& [labels, count] : sums) {
        out.push_back({std::get<0>(labels), std::get<1>(labels), std::get<2>(labels), count});
    }
    return out;
}

std::vector<weft_rule_drops_key> RuleDropsKeeper::due(const compiler::DesiredState& desired,
                                                      const std::vector<bpf::RuleDrops>& all, Clock::time_point now) {
    std::set<std::uint64_t> present;
    if (desired.policy != nullptr) {
        for (const auto& [netns, endpoint] : desired.policy->endpoints) {
            present.insert(endpoint.policy);
        }
    }
    std::vector<weft_rule_drops_key> removable;
    std::map<std::uint64_t, Clock::time_point> past;
    for (const auto& one : all) {
        if (present.contains(one.key.policy)) {
            continue;
        }
        const auto known = past_since_.find(one.key.policy);
        const auto since = known == past_since_.end() ? now : known->second;
        if (now - since >= grace_) {
            removable.push_back(one.key);
        }
        past.emplace(one.key.policy, since);
    }
    past_since_ = std::move(past);
    return removable;
}

} // namespace weft::telemetry
