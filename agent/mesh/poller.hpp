// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One worker's event loop: descriptors, deadlines and messages from other threads. Handlers are known by number, so
// that an event of a connection that ended in the same round meets nobody. Thread: the worker's; only post() and stop()
// are for others.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::mesh {

class Poller {
public:
    using Clock = std::chrono::steady_clock;
    using Token = std::uint64_t;
    /// Called with epoll's events, or with 0 when the deadline has passed.
    using Handler = std::function<void(std::uint32_t events)>;

    /// Error: errno of epoll_create1 or eventfd.
    static Result<std::unique_ptr<Poller>> create();

    /// A number for a new handler. One handler may have several descriptors and one deadline.
    Token add(Handler handler);
    /// For handlers that have to know their own number.
    void set_handler(Token token, Handler handler) {
        entries_[token].handler = std::make_shared<Handler>(std::move(handler));
    }
    /// Forgets the handler and its deadline; its descriptors are taken out when they are closed. Fine while it runs.
    void remove(Token token);
    /// Waits for `events` (EPOLLIN ...) of `fd`; the first time adds it, 0 takes it out. EPOLLEXCLUSIVE only at first.
    Result<> watch(Token token, int fd, std::uint32_t events);
    /// Calls the handler with 0 at `when`; a later call replaces the deadline.
    void set_deadline(Token token, Clock::time_point when);
    void clear_deadline(Token token);

    /// Runs `work` on the worker soon. Any thread.
    void post(std::function<void()> work);
    /// Makes run() return. Any thread.
    void stop();
    void run();

private:
    Poller(UniqueFd epoll, UniqueFd wake) : epoll_(std::move(epoll)), wake_(std::move(wake)) {}
    struct Entry {
        std::shared_ptr<Handler> handler;
        Clock::time_point deadline = Clock::time_point::max();
    };
    void call(Token token, std::uint32_t events);
    int expire();
    void run_posted();

    UniqueFd epoll_;
    UniqueFd wake_;
    Token next_ = 1; // 0 is the wake-up descriptor
    std::unordered_map<Token, Entry> entries_;
    std::set<std::pair<Clock::time_point, Token>> deadlines_;
    std::mutex mutex_; ///< guards posted_: what other threads hand over
    std::vector<std::function<void()>> posted_;
    std::atomic<bool> stopping_ = false;
};

} // namespace weft::mesh
