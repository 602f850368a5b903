// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What happened on one edge of the service map during the last minute? A ring of sums, five seconds each, so that an
// edge costs the same however much happens on it. Pure: the time is given.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace weft::ui {

/// Sums over some time. Bytes are payload: `sent` from the one who opened the connection, `received` to it.
struct Sums {
    std::uint64_t opened = 0;      ///< connections established
    std::uint64_t mutual_tls = 0;  ///< of them, by mutual TLS
    std::uint64_t closed = 0;      ///< connections that ended
    std::uint64_t denied = 0;      ///< attempts that were refused or dropped
    std::uint64_t sent = 0;        ///< bytes
    std::uint64_t received = 0;    ///< bytes
    std::uint64_t rtt_count = 0;   ///< connections whose round-trip time is known
    std::uint64_t rtt_us = 0;      ///< sum of their round-trip times, in microseconds

    Sums& operator+=(const Sums& other);
};

class EdgeWindow {
public:
    static constexpr std::int64_t kBucketSeconds = 5;
    static constexpr std::size_t kBuckets = 12;
    static constexpr std::int64_t kSeconds = kBucketSeconds * static_cast<std::int64_t>(kBuckets);

    /// Adds to the sums of the second `at`; what is older than the window at `now` is left out. Seconds of any one
    /// clock.
    void add(const Sums& what, std::int64_t at, std::int64_t now);
    /// All that is in the window at `now`.
    [[nodiscard]] Sums total(std::int64_t now) const;
    /// The buckets, oldest first; the last one is still being filled.
    [[nodiscard]] std::vector<Sums> history(std::int64_t now) const;
    /// Seconds that the window covers at `now`: less than kSeconds, as the last bucket is not over.
    static double covered(double now);

private:
    struct Bucket {
        std::int64_t number = -1;
        Sums sums;
    };
    std::array<Bucket, kBuckets> ring_;
};

} // namespace weft::ui
