// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Is the control loop alive, and how late does it come to its work? It beats once a second and others look.
// Thread: beat() on the loop, everything else on any.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace weft::telemetry {

class Pulse {
public:
    using Clock = std::chrono::steady_clock;
    static constexpr std::chrono::seconds kInterval{1};
    /// Without a beat for so long the agent is not healthy: the longest that a loop has ever worked at one go is less.
    static constexpr std::chrono::seconds kPatience{30};

    /// `now`: when the loop came to it. The first beat measures nothing.
    void beat(Clock::time_point now) {
        const auto last = last_.exchange(now.time_since_epoch().count());
        const auto late = now - Clock::time_point(Clock::duration(last)) - kInterval;
        const auto us = std::chrono::duration_cast<std::chrono::microseconds>(late).count();
        if (last != 0) {
            lag_us_ = us > 0 ? us : 0;
            max_lag_us_ = std::max(max_lag_us_.load(), lag_us_.load());
        }
        ++beats_;
    }
    [[nodiscard]] bool alive(Clock::time_point now) const {
        const auto last = last_.load();
        return last == 0 || now - Clock::time_point(Clock::duration(last)) < kPatience;
    }
    /// By how much the last beat came later than planned, in microseconds.
    [[nodiscard]] std::int64_t lag_us() const { return lag_us_; }
    /// The longest of them since the agent started.
    [[nodiscard]] std::int64_t max_lag_us() const { return max_lag_us_; }
    [[nodiscard]] std::int64_t beats() const { return beats_; }

    /// What the service manager was told: READY, until STOPPING.
    void set_ready(bool ready) { ready_ = ready; }
    [[nodiscard]] bool ready() const { return ready_; }

private:
    std::atomic<Clock::rep> last_ = 0;
    std::atomic<std::int64_t> lag_us_ = 0, max_lag_us_ = 0, beats_ = 0;
    std::atomic<bool> ready_ = false;
};

} // namespace weft::telemetry
