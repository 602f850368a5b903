// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/poller.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace weft::mesh {

Result<std::unique_ptr<Poller>> Poller::create() {
    UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
    UniqueFd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!epoll.valid() || !wake.valid()) {
        return system_failure("making an event loop");
    }
    epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
    if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wake.get(), &event) != 0) {
        return system_failure("making an event loop");
    }
    return std::unique_ptr<Poller>(new Poller(std::move(epoll), std::move(wake)));
}

Poller::Token Poller::add(Handler handler) {
    const Token token = next_++;
    entries_[token].handler = std::make_shared<Handler>(std::move(handler));
    return token;
}

void Poller::remove(Token token) {
    clear_deadline(token);
    entries_.erase(token);
}

Result<> Poller::watch(Token token, int fd, std::uint32_t events) {
    epoll_event event{.events = events, .data = {.u64 = token}};
    if (events == 0) {
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, &event) != 0 && errno != ENOENT) {
            return system_failure("taking a descriptor out of the event loop");
        }
        return {};
    }
    // EPOLLEXCLUSIVE can only be added: changing to it is EINVAL, also for a descriptor that is not there yet.
    const bool exclusive = (events & EPOLLEXCLUSIVE) != 0;
    if (!exclusive && ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event) == 0) {
        return {};
    }
    if ((!exclusive && errno != ENOENT) || ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
        return system_failure("watching a descriptor");
    }
    return {};
}

void Poller::set_deadline(Token token, Clock::time_point when) {
    clear_deadline(token);
    if (const auto found = entries_.find(token); found != entries_.end()) {
        found->second.deadline = when;
        deadlines_.emplace(when, token);
    }
}

void Poller::clear_deadline(Token token) {
    if (const auto found = entries_.find(token); found != entries_.end()) {
        deadlines_.erase({found->second.deadline, token});
        found->second.deadline = Clock::time_point::max();
    }
}

void Poller::post(std::function<void()> work) {
    {
        const std::lock_guard lock(mutex_);
        posted_.push_back(std::move(work));
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_.get(), &one, sizeof one); // EAGAIN: it is awake already
}

void Poller::stop() {
    stopping_ = true;
    post([] {});
}

void Poller::call(Token token, std::uint32_t events) {
    const auto found = entries_.find(token);
    if (found != entries_.end()) {
        const auto handler = found->second.handler; // it may remove itself
        (*handler)(events);
    }
}

int Poller::expire() {
    const auto now = Clock::now();
    while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
        const Token token = deadlines_.begin()->second;
        clear_deadline(token);
        call(token, 0);
    }
    if (deadlines_.empty()) {
        return -1;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadlines_.begin()->first - now).count();
    return static_cast<int>(std::clamp<long>(left, 0, 60'000));
}

void Poller::run_posted() {
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(wake_.get(), &count, sizeof count); // only resets it
    std::vector<std::function<void()>> work;
    {
        const std::lock_guard lock(mutex_);
        work.swap(posted_);
    }
    for (const auto& one : work) {
        one();
    }
}

void Poller::run() {
    std::array<epoll_event, 64> events{};
    while (!stopping_) {
        const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), expire());
        for (int i = 0; i < count; ++i) {
            const epoll_event& event = events[static_cast<std::size_t>(i)];
            if (event.data.u64 == 0) {
                run_posted();
            } else {
                call(event.data.u64, event.events);
            }
        }
    }
}

} // namespace weft::mesh
