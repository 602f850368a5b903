// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How often may somebody ask? A bucket of tokens for each name, and a bound on how many names are remembered.
// Thread: one at a time.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>

namespace weft::ca {

class RateLimit {
public:
    using Clock = std::chrono::steady_clock;

    /// `burst` at once, then `per_second`. Of more than `names` names the longest idle one is forgotten.
    RateLimit(double burst, double per_second, std::size_t names) : burst_(burst), rate_(per_second), names_(names) {}

    /// Takes a token of `name`; false when there is none.
    bool allow(const std::string& name, Clock::time_point now = Clock::now());

private:
    struct Bucket {
        double tokens;
        Clock::time_point at;
    };
    double burst_;
    double rate_;
    std::size_t names_;
    std::map<std::string, Bucket> buckets_;
};

/// Whose bucket a peer as gRPC writes it ("ipv4:10.0.0.1", "ipv6:[fd00::1]") draws from: of IPv6 the whole /64, as one
/// machine has all addresses of it.
std::string block_of(std::string_view peer);

} // namespace weft::ca
