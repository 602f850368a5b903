// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The supervisor's event loop: descriptors, timers, and work that blocks done on a few threads whose results come back
// as calls on the loop. Everything but run_elsewhere's work runs on the loop's thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::lab {

class Loop {
public:
    using Call = std::function<void()>;
    using Clock = std::chrono::steady_clock;

    /// `workers`: threads for run_elsewhere.
    explicit Loop(int workers);
    Loop(const Loop&) = delete;
    Loop& operator=(const Loop&) = delete;
    /// Waits for work that runs elsewhere; its results are dropped.
    ~Loop();

    /// Calls `ready` whenever `fd` is readable or hung up, until unwatch(fd). Borrows the descriptor.
    void watch(int fd, Call ready);
    void unwatch(int fd);

    /// Calls once after `delay`.
    void after(std::chrono::milliseconds delay, Call call);

    /// `work` on a worker thread, then the call that it returned on the loop.
    void run_elsewhere(std::function<Call()> work);

    /// Runs until stop().
    void run();
    void stop() { running_ = false; }

private:
    void work();
    void take_results();
    int fire_timers();

    bool running_ = true;
    std::map<int, std::shared_ptr<Call>> watched_;
    std::multimap<Clock::time_point, Call> timers_;

    // Shared with the workers, under mutex_: blocking work must not hold up the loop, which answers commands and
    // reaps processes meanwhile.
    std::mutex mutex_;
    std::condition_variable wake_;
    std::deque<std::function<Call()>> todo_;
    std::deque<Call> results_;
    bool closing_ = false;

    UniqueFd result_event_;
    std::vector<std::jthread> workers_;
};

} // namespace weft::lab
