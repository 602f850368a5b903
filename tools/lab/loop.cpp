// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// poll(2) over few descriptors: a lab has tens of them, and poll needs no bookkeeping.
#include "tools/lab/loop.hpp"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>

namespace weft::lab {

Loop::Loop(int workers) : result_event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    watch(result_event_.get(), [this] { take_results(); });
    for (int i = 0; i < workers; ++i) {
        workers_.emplace_back([this] { work(); });
    }
}

Loop::~Loop() {
    {
        const std::scoped_lock lock(mutex_);
        closing_ = true;
        todo_.clear();
    }
    wake_.notify_all();
    workers_.clear(); // joins
}

void Loop::watch(int fd, Call ready) {
    watched_[fd] = std::make_shared<Call>(std::move(ready));
}

void Loop::unwatch(int fd) {
    watched_.erase(fd);
}

void Loop::after(std::chrono::milliseconds delay, Call call) {
    timers_.emplace(Clock::now() + delay, std::move(call));
}

void Loop::run_elsewhere(std::function<Call()> work) {
    {
        const std::scoped_lock lock(mutex_);
        todo_.push_back(std::move(work));
    }
    wake_.notify_one();
}

void Loop::work() {
    for (;;) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return closing_ || !todo_.empty(); });
        if (closing_) {
            return;
        }
        auto job = std::move(todo_.front());
        todo_.pop_front();
        lock.unlock();
        auto result = job();
        lock.lock();
        results_.push_back(std::move(result));
        (void)::eventfd_write(result_event_.get(), 1); // cannot overflow: the loop drains it
    }
}

void Loop::take_results() {
    eventfd_t count = 0;
    (void)::eventfd_read(result_event_.get(), &count);
    std::deque<Call> results;
    {
        const std::scoped_lock lock(mutex_);
        results.swap(results_);
    }
    for (auto& result : results) {
        if (result) {
            result();
        }
    }
}

int Loop::fire_timers() {
    while (running_ && !timers_.empty() && timers_.begin()->first <= Clock::now()) {
        auto call = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
        call();
    }
    if (timers_.empty()) {
        return -1;
    }
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(timers_.begin()->first - Clock::now());
    return static_cast<int>(std::clamp<long long>(left.count() + 1, 0, 60000));
}

void Loop::run() {
    while (running_) {
        const int timeout = fire_timers();
        if (!running_) {
            return;
        }
        std::vector<pollfd> descriptors;
        for (const auto& [fd, call] : watched_) {
            descriptors.push_back({fd, POLLIN, 0});
        }
        if (::poll(descriptors.data(), descriptors.size(), timeout) <= 0) {
            continue;
        }
        for (const auto& descriptor : descriptors) {
            // A call may unwatch others, or itself: look each one up again and keep it alive while it runs.
            const auto found = descriptor.revents != 0 ? watched_.find(descriptor.fd) : watched_.end();
            if (found != watched_.end()) {
                const auto call = found->second;
                (*call)();
            }
        }
    }
}

} // namespace weft::lab
