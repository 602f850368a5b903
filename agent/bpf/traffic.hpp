// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What do the kernel's sums of connections say (include/weft/abi/traffic.h), and how do old ones go away?
// Thread: any; reading and forgetting may overlap.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "agent/bpf/rule_drops.hpp"
#include "weft/abi/traffic.h"
#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {

class Datapath;

/// One sum. `key.peer` is WEFT_TRAFFIC_OTHER for what a workload's further peers did together.
struct Traffic {
    weft_traffic_key key{};
    weft_traffic sum{};
};

/// Whom the metrics ask. Thread: any.
class TrafficSource {
public:
    TrafficSource() = default;
    TrafficSource(const TrafficSource&) = delete;
    TrafficSource& operator=(const TrafficSource&) = delete;
    virtual ~TrafficSource() = default;

    /// Every sum; of `other` only those that counted something. Error: a map cannot be read.
    [[nodiscard]] virtual Result<std::vector<Traffic>> read() const = 0;
    /// Index: kind of enum weft_duration * WEFT_DIRECTION_COUNT + direction; summed over the CPUs. Error: as read().
    [[nodiscard]] virtual Result<std::vector<weft_histogram>> durations() const = 0;
    /// Denials by policy class. Error: as read().
    [[nodiscard]] virtual Result<std::vector<RuleDrops>> rule_drops() const = 0;
};

/// The maps of traffic, by descriptors of its own: they are state maps, which stay when the data path grows.
class TrafficMaps final : public TrafficSource {
public:
    /// Error: the data path has no such map or program.
    static Result<std::unique_ptr<TrafficMaps>> open(const Datapath& datapath);

    [[nodiscard]] Result<std::vector<Traffic>> read() const override;
    [[nodiscard]] Result<std::vector<weft_histogram>> durations() const override;
    [[nodiscard]] Result<std::vector<RuleDrops>> rule_drops() const override { return rule_drops_.read(); }
    /// Identities of all workloads that counted something. Error: as read().
    [[nodiscard]] Result<std::vector<std::uint64_t>> workloads() const;
    /// Removes one sum, which makes room for another peer of its workload; an absent one is no error.
    [[nodiscard]] Result<> forget(const weft_traffic_key& key) const;
    /// Removes one count of denials; an absent one is no error.
    [[nodiscard]] Result<> forget(const weft_rule_drops_key& key) const { return rule_drops_.forget(key); }
    /// Removes a workload's sums of other peers. Call it last: it holds the count of the workload's peers.
    [[nodiscard]] Result<> forget_workload(std::uint64_t identity) const;

private:
    UniqueFd sums_, others_, durations_, forget_;
    RuleDropsMap rule_drops_;
};

} // namespace weft::bpf
