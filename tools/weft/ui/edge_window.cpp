// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/weft/ui/edge_window.hpp"

#include <algorithm>
#include <cmath>

namespace weft::ui {
namespace {

constexpr auto kCount = static_cast<std::int64_t>(EdgeWindow::kBuckets);

std::int64_t number_of(std::int64_t seconds) {
    return std::max<std::int64_t>(seconds, 0) / EdgeWindow::kBucketSeconds;
}

} // namespace

Sums& Sums::operator+=(const Sums& other) {
    opened += other.opened;
    mutual_tls += other.mutual_tls;
    closed += other.closed;
    denied += other.denied;
    sent += other.sent;
    received += other.received;
    rtt_count += other.rtt_count;
    rtt_us += other.rtt_us;
    return *this;
}

void EdgeWindow::add(const Sums& what, std::int64_t at, std::int64_t now) {
    const auto number = number_of(std::min(at, now)); // another node's clock may be ahead
    if (number + kCount <= number_of(now)) {
        return;
    }
    auto& bucket = ring_[static_cast<std::size_t>(number % kCount)];
    if (bucket.number != number) {
        bucket = {.number = number, .sums = {}};
    }
    bucket.sums += what;
}

Sums EdgeWindow::total(std::int64_t now) const {
    Sums all;
    for (const auto& sums : history(now)) {
        all += sums;
    }
    return all;
}

std::vector<Sums> EdgeWindow::history(std::int64_t now) const {
    std::vector<Sums> out(kBuckets);
    const auto last = number_of(now);
    for (const auto& bucket : ring_) {
        if (bucket.number >= 0 && bucket.number <= last && bucket.number + kCount > last) {
            out[static_cast<std::size_t>(kCount - 1 - (last - bucket.number))] = bucket.sums;
        }
    }
    return out;
}

double EdgeWindow::covered(double now) {
    const auto into_last = std::fmod(now, static_cast<double>(kBucketSeconds));
    return static_cast<double>(kSeconds - kBucketSeconds) + std::max(into_last, 0.001);
}

} // namespace weft::ui
