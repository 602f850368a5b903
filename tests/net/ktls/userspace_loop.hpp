// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Runs one UserspaceRelay as the agent would.
#pragma once

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <utility>

#include "weft/base/unique_fd.hpp"
#include "weft/ktls/userspace_relay.hpp"

namespace weft::ktls::test {

/// An edge-triggered loop with one relay, as the agent's, in a thread of its own.
class UserspaceLoop {
public:
    UserspaceLoop(OsslPtr<SSL> ssl, UniqueFd app, UniqueFd peer, const UserspaceOptions& options)
        : app_(std::move(app)), peer_(std::move(peer)), relay_(std::move(ssl), app_.get(), peer_.get(), options),
          wake_(::eventfd(0, EFD_NONBLOCK)), thread_([this] { run(); }) {}
    UserspaceLoop(const UserspaceLoop&) = delete;
    UserspaceLoop& operator=(const UserspaceLoop&) = delete;
    ~UserspaceLoop() { (void)finish(true); }
    /// Waits for the end, or makes one. The reason.
    std::uint16_t finish(bool abort = false) {
        if (abort) {
            abort_ = true;
            const std::uint64_t one = 1;
            (void)!::write(wake_.get(), &one, sizeof one);
        }
        if (thread_.joinable()) {
            thread_.join();
        }
        return relay_.reason();
    }
    const UserspaceRelay& relay() { return relay_; }
    [[nodiscard]] long turns() const { return turns_; }

private:
    void run() {
        const UniqueFd epoll(::epoll_create1(0));
        for (const int fd : {app_.get(), peer_.get(), wake_.get()}) {
            epoll_event event{};
            event.events = UserspaceRelay::kEvents;
            (void)::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
        }
        auto state = UserspaceRelay::State::kWaits;
        bool error = false;
        while (!abort_ && state != UserspaceRelay::State::kEnded) {
            epoll_event events[3];
            const int count = ::epoll_wait(epoll.get(), events, 3, state == UserspaceRelay::State::kAgain ? 0 : 60000);
            for (int i = 0; i < count; ++i) {
                error = error || (events[i].events & EPOLLERR) != 0;
            }
            state = relay_.step(std::exchange(error, false));
            ++turns_;
        }
        if (state != UserspaceRelay::State::kEnded) {
            relay_.abort();
        }
        app_.reset();
        peer_.reset();
    }

    UniqueFd app_;
    UniqueFd peer_;
    UserspaceRelay relay_;
    UniqueFd wake_;
    std::atomic<bool> abort_ = false;
    std::atomic<long> turns_ = 0;
    std::thread thread_;
};

} // namespace weft::ktls::test
