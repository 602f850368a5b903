// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/rule_drops.hpp"

#include <bpf/bpf.h>

#include <algorithm>
#include <cstring>

#include "agent/bpf/datapath.hpp"
#include "agent/bpf/kernel_map.hpp"

namespace weft::bpf {

Result<RuleDropsMap> RuleDropsMap::open(const Datapath& datapath) {
    RuleDropsMap out;
    WEFT_ASSIGN(const int fd, datapath.map_fd("weft_rule_drops"));
    WEFT_ASSIGN(out.map_, duplicate(fd));
    return out;
}

Result<std::vector<RuleDrops>> RuleDropsMap::read() const {
    std::vector<RuleDrops> all;
    WEFT_ASSIGN(auto copy, duplicate(map_.get()));
    WEFT_ASSIGN(const auto map, KernelMap::open(std::move(copy)));
    WEFT_TRY(map->for_each([&](Bytes key, Bytes value) {
        auto& one = all.emplace_back();
        std::memcpy(&one.key, key.data(), std::min(key.size(), sizeof one.key));
        std::memcpy(&one.count, value.data(), std::min(value.size(), sizeof one.count));
    }));
    return all;
}

Result<> RuleDropsMap::forget(const weft_rule_drops_key& key) const {
    if (::bpf_map_delete_elem(map_.get(), &key) != 0 && errno != ENOENT) {
        return system_failure("removing from map weft_rule_drops");
    }
    return {};
}

} // namespace weft::bpf
