// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One thread of the child: waits for its share of the connections and moves their bytes. Allocates only while it
// starts. Every socket is registered edge-triggered once, so that idle and half-closed ones cost nothing and cannot
// spin.
#pragma once

#include <cstdint>
#include <vector>

#include "ktls/relay/memory.hpp"

namespace weft::relay {

class Worker {
public:
    /// Takes up everything that the memory says is carried by this thread.
    Worker(Memory& memory, std::uint32_t thread);
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    /// Never returns.
    [[noreturn]] void run();

private:
    /// How far a direction came.
    enum class Flow : std::uint8_t {
        kWaits,    ///< for data, or for room: the socket will say so
        kMore,     ///< its turn is over, there is more to do
        kClosed,   ///< nothing is left to do
        kEnded,    ///< the whole connection has ended
    };
    /// What only this process needs to know of a connection.
    struct Local {
        std::uint32_t in_pipe[2] = {0, 0}; ///< bytes
        bool known = false;                ///< registered in epoll
        bool urgent[2] = {false, false};   ///< a mark is or was in what the source sends
        struct Link {
            std::uint32_t next = 0; ///< number + 1 of the slot behind it
            bool queued = false;
        } links[2]; ///< one for each queue, as a connection may be in both
    };
    /// A first-in first-out list of slots through Local::links, so that it never needs memory.
    struct Queue {
        std::uint32_t link;
        std::uint32_t first = 0;
        std::uint32_t last = 0;
    };

    void take_up(std::uint32_t number);
    void look_at(std::uint32_t number);
    unsigned int concerned(std::uint32_t number, std::uint32_t events, bool app_side);
    void work(std::uint32_t number, unsigned int directions = 3);
    Flow move(std::uint32_t number, int direction);
    Flow fill(std::uint32_t number, int direction, bool& empty);
    Flow drain(std::uint32_t number, int direction);
    bool pass_mark(std::uint32_t number, int direction);
    Flow close_half(std::uint32_t number, int direction);
    Flow on_control(std::uint32_t number, int direction, bool was_zero);
    Flow end(std::uint32_t number, int reason, std::uint32_t detail);
    Flow end_broken(std::uint32_t number, bool app_side, int code);
    bool check_error(std::uint32_t number, std::uint32_t events, bool app_side);

    bool attach(std::uint32_t number, int direction);
    void detach(std::uint32_t number, int direction);
    bool make_pipe(std::uint32_t pipe);
    void close_pipe(std::uint32_t pipe);
    void push_back(Queue& queue, std::uint32_t number);
    bool pop_front(Queue& queue, std::uint32_t& number);

    Local& local(std::uint32_t number) { return locals_[number / threads_]; }

    Memory& memory_;
    const std::uint32_t thread_;
    const std::uint32_t threads_;
    int epoll_;
    std::vector<Local> locals_;
    std::vector<std::uint32_t> free_pipes_; ///< empty, or not made yet
    Queue ready_{0};                        ///< have more to do
    Queue waiting_{1};                      ///< for a pipe
};

} // namespace weft::relay
