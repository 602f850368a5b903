// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/ca/rate_limit.hpp"

#include <algorithm>

#include "weft/base/ip.hpp"

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

std::string block_of(std::string_view peer) {
    std::string text(peer.substr(peer.find(':') + 1));
    for (const std::string_view bracket : {"[", "]", "%5B", "%5D"}) { // which of them depends on gRPC's version
        if (const auto at = text.find(bracket); at != std::string::npos) {
            text.erase(at, bracket.size());
        }
    }
    text.resize(std::min(text.find('%'), text.size())); // a scope
    const auto ip = Ip::parse(text);
    if (!ip || ip->is_v4()) {
        return std::string(peer);
    }
    return Cidr::parse(ip->to_string() + "/64")->to_string();
}

} // namespace weft::ca
