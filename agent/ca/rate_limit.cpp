// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/ca/rate_limit.hpp"

#include <algorithm>

namespace weft::ca {

bool RateLimit::allow(const std::string& name, Clock::time_point now) {
    auto found = buckets_.find(name);
    if (found == buckets_.end()) {
        if (buckets_.size() >= names_) {
            buckets_.erase(std::ranges::min_element(buckets_, {}, [](const auto& one) { return one.second.at; }));
        }
        found = buckets_.emplace(name, Bucket{burst_, now}).first;
    }
    auto& bucket = found->second;
    const double passed = std::max(0.0, std::chrono::duration<double>(now - bucket.at).count());
    bucket.tokens = std::min(burst_, bucket.tokens + passed * rate_);
    bucket.at = now;
    if (bucket.tokens < 1) {
        return false;
    }
    bucket.tokens -= 1;
    return true;
}

} // namespace weft::ca
