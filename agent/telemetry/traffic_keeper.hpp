// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// When do the kernel's sums of connections go away? A while after their workload left this node or their peer the
// cluster, so that the last scrape saw their end.
// Thread: control.
#pragma once

#include <chrono>
#include <map>
#include <vector>

#include "agent/bpf/traffic.hpp"
#include "agent/compiler/desired_state.hpp"
#include "agent/telemetry/rule_drops.hpp"

namespace weft::telemetry {

class TrafficKeeper {
public:
    using Clock = std::chrono::steady_clock;
    /// Longest time that a sum of what is gone waits for its connections to end.
    static constexpr std::chrono::hours kPatience{1};

    /// `grace`: from when a sum is found to be of the past until it is removed. `maps` must outlive it.
    TrafficKeeper(const bpf::TrafficMaps& maps, Clock::duration grace)
        : maps_(maps), grace_(grace), rule_drops_(grace) {}

    /// Looks through all sums, and through the denials by policy class. Error: the kernel's maps cannot be read or
    /// written; the next tick tries again.
    Result<> tick(const compiler::DesiredState& desired, Clock::time_point now);
    /// What tick() removes; for tests. Remembers since when each sum is of the past.
    std::vector<weft_traffic_key> due(const compiler::DesiredState& desired, const std::vector<bpf::Traffic>& all,
                                      Clock::time_point now);

private:
    const bpf::TrafficMaps& maps_;
    Clock::duration grace_;
    RuleDropsKeeper rule_drops_;
    std::map<std::vector<std::byte>, Clock::time_point> past_since_; ///< by bytes of the key
};

} // namespace weft::telemetry
