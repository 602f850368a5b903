// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/telemetry/traffic_keeper.hpp"

#include "agent/telemetry/traffic_names.hpp"

namespace weft::telemetry {

std::vector<weft_traffic_key> TrafficKeeper::due(const compiler::DesiredState& desired,
                                                 const std::vector<bpf::Traffic>& all, Clock::time_point now) {
    std::vector<weft_traffic_key> removable;
    std::map<std::vector<std::byte>, Clock::time_point> past;
    const CurrentIdentities current(desired);
    for (const auto& [key, sum] : all) {
        if (current.holds(key)) {
            continue;
        }
        const auto* bytes = reinterpret_cast<const std::byte*>(&key);
        std::vector<std::byte> name(bytes, bytes + sizeof key);
        const auto known = past_since_.find(name);
        const auto since = known == past_since_.end() ? now : known->second;
        if (now - since >= (sum.opened == sum.closed ? grace_ : Clock::duration(kPatience))) {
            removable.push_back(key);
        }
        past.emplace(std::move(name), since);
    }
    past_since_ = std::move(past);
    return removable;
}

Result<> TrafficKeeper::tick(const compiler::DesiredState& desired, Clock::time_point now) {
    WEFT_ASSIGN(const auto denials, maps_.rule_drops());
    for (const auto& key : rule_drops_.due(desired, denials, now)) {
        WEFT_TRY(maps_.forget(key));
    }
    WEFT_ASSIGN(const auto all, maps_.read());
    std::map<std::uint64_t, std::size_t> left; // sums by workload
    for (const auto& one : all) {
        ++left[one.key.workload];
    }
    for (const auto& key : due(desired, all, now)) {
        --left[key.workload];
        if (key.peer != WEFT_TRAFFIC_OTHER) {
            WEFT_TRY(maps_.forget(key));
        }
    }
    // The sums of other peers go last, with all of their workload, as they hold the number of its peers.
    const CurrentIdentities current(desired);
    WEFT_ASSIGN(const auto workloads, maps_.workloads());
    for (const auto identity : workloads) {
        if (left[identity] == 0 && !current.runs_here(identity)) {
            WEFT_TRY(maps_.forget_workload(identity));
        }
    }
    return {};
}

} // namespace weft::telemetry
