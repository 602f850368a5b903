// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One thread of the child: waits for its share of the connections and moves their bytes. Allocates only while it is
// made. Every socket is registered edge-triggered once, so that idle and half-closed ones cost nothing and cannot spin;
// whoever has more to do than one turn allows is told of once more, as by the parent, and so comes behind the others.
#pragma once

#include <cstdint>
#include <vector>

#include "ktls/relay/memory.hpp"

namespace weft::relay {

class Worker {
public:
    Worker(Shared& shared, std::uint32_t thread);
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    /// Takes up everything that is carried by this thread, and never returns.
    [[noreturn]] void run();

private:
    /// What only this process needs to know of a connection.
    struct Local {
        std::uint32_t generation = 0; ///< of the connection that the rest is about
        std::uint32_t in_pipe[2] = {0, 0}; ///< bytes
        bool urgent[2] = {false, false}; ///< a mark is or was in what the source sends
        bool waiting = false; ///< for a pipe
    };
    /// One direction of a connection, as it is worked on.
    struct Stream {
        Slot& slot;
        Half& half;
        std::uint32_t& in_pipe;
        bool& urgent;
        int from; ///< side
        int source;
        int destination;
        bool source_tls;
        bool destination_tls;
    };

    // The loop, and what happens to whole connections: worker.cpp. Whatever ends one returns false.
    void look_at(Slot& slot);
    void take_up(Slot& slot);
    void on_event(Slot& slot, int side, std::uint32_t events);
    void move_both(Slot& slot);
    void watch(Slot& slot, int side);
    void say(Slot& slot, std::uint8_t news);
    bool end(Slot& slot, int reason, std::uint32_t detail);
    bool end_broken(Slot& slot, int side, int code);
    bool attach(const Stream& stream);
    void release_pipe(const Stream& stream);
    void wake_waiting();
    void detach(const Stream& stream) {
        release_pipe(stream);
        wake_waiting();
    }
    void close_pipe(std::uint32_t pipe);
    Local& local(const Slot& slot) { return locals_[shared_.number_of(slot) / shared_.threads]; }
    Stream stream(Slot& slot, int from);
    Pipe& pipe_of(const Stream& stream) { return shared_.pipes[stream.half.pipe.load() - 1]; }

    // Bytes of one direction: move.cpp. True: go on; false: the socket will say when, or the connection has ended.
    void move(const Stream& stream);
    bool fill(const Stream& stream);
    bool drain(const Stream& stream);
    bool pass_mark(const Stream& stream);
    bool close_half(const Stream& stream);
    bool on_control(const Stream& stream, bool was_zero);
    bool spend(const Stream& stream, std::uint32_t bytes);

    Shared& shared_;
    const std::uint32_t thread_;
    const int epoll_;
    std::vector<Local> locals_;
    std::vector<std::uint32_t> free_pipes_; ///< empty, or not made yet
    std::vector<std::uint32_t> waiting_; ///< slots that wait for a pipe: a ring, each is in it once at most
    std::size_t first_waiting_ = 0;
    std::size_t waiting_count_ = 0;
};

} // namespace weft::relay
