// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Which policies deny? The kernel's denials by policy class get the names of the policies, and go away a while after
// the last workload of their class did.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/bpf/rule_drops.hpp"
#include "agent/compiler/desired_state.hpp"

namespace weft::telemetry {

/// One series of weft_rule_drops_total.
struct RuleDropsSeries {
    std::string reason, direction;
    std::string
        rule; ///< "ns/name" of the policies that isolate, by commas; "unknown" for a class nobody names any more
    std::uint64_t count = 0;
};

/// Names of what is gone are kept as long as the kernel counts it. Thread: one at a time.
class RuleDropsNames {
public:
    /// As series, in order; classes with the same policies are one.
    std::vector<RuleDropsSeries> series(const compiler::DesiredState& desired, const std::vector<bpf::RuleDrops>& all);

private:
    std::map<std::uint64_t, std::string> names_;
};

/// Says which counts are of classes that no workload of the node has had for `grace`. Thread: control.
class RuleDropsKeeper {
public:
    using Clock = std::chrono::steady_clock;
    explicit RuleDropsKeeper(Clock::duration grace) : grace_(grace) {}

    /// To be removed now. Remembers since when each class is of the past.
    std::vector<weft_rule_drops_key> due(const compiler::DesiredState& desired, const std::vector<bpf::RuleDrops>& all,
                                         Clock::time_point now);

private:
    Clock::duration grace_;
    std::map<std::uint64_t, Clock::time_point> past_since_; ///< by class
};

} // namespace weft::telemetry
