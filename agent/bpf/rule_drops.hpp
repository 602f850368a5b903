// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What do the kernel's denials by policy class say (include/weft/abi/rule_drops.h)?
// Thread: any; reading and forgetting may overlap.
#pragma once

#include <cstdint>
#include <vector>

#include "weft/abi/rule_drops.h"
#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {

class Datapath;

/// One count.
struct RuleDrops {
    weft_rule_drops_key key{};
    std::uint64_t count = 0;
};

/// By a descriptor of its own: a state map stays when the data path grows.
class RuleDropsMap {
public:
    /// Error: the data path has no such map.
    static Result<RuleDropsMap> open(const Datapath& datapath);
    /// Every count. Error: the map cannot be read.
    [[nodiscard]] Result<std::vector<RuleDrops>> read() const;
    /// Removes one; an absent one is no error.
    [[nodiscard]] Result<> forget(const weft_rule_drops_key& key) const;

private:
    UniqueFd map_;
};

} // namespace weft::bpf
