// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The control loop: one thread that owns the store, the compiler and the reconciler. Others post work to it.
// Thread: everything but post() and stop() belongs to the thread that calls run().
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::app {

class Loop {
public:
    using Clock = std::chrono::steady_clock;

    /// Error: errno of epoll_create1 or eventfd.
    static Result<Loop> create();
    Loop(Loop&& other) noexcept;
    Loop& operator=(Loop&&) = delete;
    Loop(const Loop&) = delete;
    ~Loop() = default;

    /// Calls `ready` whenever `fd` is readable. The descriptor stays the caller's.
    Result<> watch(int fd, std::function<void()> ready);
    void unwatch(int fd);
    /// Calls `work` every `interval`, first after one interval.
    void every(Clock::duration interval, std::function<void()> work);
    /// Calls `work` once, after `delay`.
    void after(Clock::duration delay, std::function<void()> work);
    /// Runs `work` on the loop soon. Any thread.
    void post(std::function<void()> work);
    /// Makes run() return. Any thread, also a signal-reading callback.
    void stop();
    /// Until stop(). Error: errno of epoll_wait.
    Result<> run();

private:
    struct Timer {
        Clock::time_point due;
        Clock::duration interval; ///< zero: once
        std::function<void()> work;
    };
    Loop(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
    int run_timers();
    void run_posted();

    UniqueFd epoll_;
    UniqueFd wake_;
    std::map<int, std::function<void()>> ready_;
    std::vector<Timer> timers_;
    std::mutex mutex_; ///< guards posted_: the only thing that other threads touch
    std::vector<std::function<void()>> posted_;
    std::atomic<bool> stopping_ = false;
};

} // namespace weft::app
