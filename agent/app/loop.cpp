// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <array>

namespace weft::app {

Result<Loop> Loop::create() {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll.valid() || !wake.valid()) {
        return system_failure("cannot create the control loop");
    }
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = wake.get();
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
        return system_failure("cannot create the control loop");
    }
    return Loop(std::move(epoll), std::move(wake));
}

// Moved only out of create(), before any other thread knows it.
Loop::Loop(Loop&& other) noexcept
    : epoll_(std::move(other.epoll_)), wake_(std::move(other.wake_)), ready_(std::move(other.ready_)),
      timers_(std::move(other.timers_)) {}

Result<> Loop::watch(int fd, std::function<void()> ready) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
        return system_failure("cannot watch descriptor {}", fd);
    }
    ready_[fd] = std::move(ready);
    return {};
}

void Loop::unwatch(int fd) {
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); // already closed descriptors are gone by themselves
    ready_.erase(fd);
}

void Loop::every(Clock::duration interval, std::function<void()> work) {
    timers_.push_back({Clock::now() + interval, interval, std::move(work)});
}

void Loop::after(Clock::duration delay, std::function<void()> work) {
    timers_.push_back({Clock::now() + delay, Clock::duration::zero(), std::move(work)});
}

void Loop::post(std::function<void()> work) {
    {
        const std::lock_guard lock(mutex_);
        posted_.push_back(std::move(work));
    }
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one); // full counter: the loop is awake anyway
}

void Loop::stop() {
    stopping_ = true;
    post([] {});
}

/// Runs what is due; returns the milliseconds until the next one is.
int Loop::run_timers() {
    const auto now = Clock::now();
    auto next = now + std::chrono::seconds(60);
    for (std::size_t i = 0; i < timers_.size(); ++i) {
        if (timers_[i].due <= now) {
            timers_[i].due =
                timers_[i].interval == Clock::duration::zero() ? Clock::time_point::max() : now + timers_[i].interval;
            const auto work = timers_[i].work; // a copy: the work may add timers
            work();
        }
        next = std::min(next, timers_[i].due);
    }
    std::erase_if(timers_, [](const Timer& timer) { return timer.due == Clock::time_point::max(); });
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
    return static_cast<int>(std::max<std::int64_t>(wait, 0));
}

void Loop::run_posted() {
    std::vector<std::function<void()>> work;
    {
        const std::lock_guard lock(mutex_);
        work.swap(posted_);
    }
    for (const auto& item : work) {
        item();
    }
}

Result<> Loop::run() {
    while (!stopping_) {
        const int wait = run_timers();
        std::array<epoll_event, 16> events{};
        const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), wait);
        if (count < 0 && errno != EINTR) {
            return system_failure("control loop");
        }
        for (int i = 0; i < count; ++i) {
            const int fd = events[static_cast<std::size_t>(i)].data.fd;
            if (fd == wake_.get()) {
                std::uint64_t ignored = 0;
                (void)!::read(wake_.get(), &ignored, sizeof ignored);
            } else if (const auto found = ready_.find(fd); found != ready_.end()) {
                const auto ready = found->second; // a copy: the callback may unwatch itself
                ready();
            }
        }
        run_posted();
    }
    return {};
}

} // namespace weft::app
