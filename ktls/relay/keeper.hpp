// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The parent: owns every descriptor, starts a child whenever there is none, answers the agent, and turns into the next
// version of itself. It reads and writes no byte of any connection.
#pragma once

#include <sys/types.h>

#include <array>
#include <unordered_map>

#include "ktls/relay/memory.hpp"

namespace weft::relay {

class Keeper {
public:
    explicit Keeper(Shared& shared);
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;
    /// Until SIGTERM. Returns the exit code.
    int run();

private:
    // The child, and the next program: keeper.cpp.
    void start_child();
    void serve_child(Slot& slot);
    void finish(Slot& slot);

    // The protocol: control.cpp. An operation returns the status to answer with, or kLater.
    struct Request {
        weft_relay_request head;
        std::uint8_t label[WEFT_RELAY_LABEL];
        std::uint32_t label_size;
        std::array<int, 2> fds; ///< by side; closed afterwards, unless the operation sets count to 0
        std::size_t count;
        Slot* slot; ///< that has the request's id, if there is one
    };
    struct Operation {
        std::uint16_t (Keeper::*carry_out)(int client, Request& request);
        std::uint32_t needs; ///< states as bits: one of them the slot must be in, unless it is 0
    };
    static const Operation kOperations[];
    std::uint16_t hello(int client, Request& request);
    std::uint16_t take(int client, Request& request);
    std::uint16_t list(int client, Request& request);
    std::uint16_t drop(int client, Request& request);
    std::uint16_t watch(int client, Request& request);
    std::uint16_t upgrade(int client, Request& request);
    std::uint16_t hold(int client, Request& request);
    std::uint16_t go_on(int client, Request& request);
    std::uint16_t fetch(int client, Request& request);

    void accept_client();
    void drop_client(int client);
    void serve(int client);
    void answer(int client, std::uint16_t op, std::uint64_t id, std::uint16_t status);
    void tell(const Slot& slot, std::uint16_t state, std::uint16_t reason, std::uint32_t detail);
    void send_events();
    Slot* free_slot(std::uint64_t id);
    void release(Slot& slot);

    Shared& shared_;
    pid_t child_ = -1;
    std::uint64_t child_started_ns_ = 0;
    std::uint32_t lowest_free_ = 0;                          ///< no slot below it is free
    std::unordered_map<std::uint64_t, std::uint32_t> by_id_; ///< slots that are carried or kept
    /// The answer in the making: what an operation puts here goes out with its status.
    struct {
        weft_relay_answer head;
        std::uint8_t body[WEFT_RELAY_ANSWER - sizeof(weft_relay_answer)];
    } reply_{};
    std::size_t body_size_ = 0;
    int reply_fd_ = -1; ///< goes with it, and stays ours
};

/// CLOCK_BOOTTIME.
std::uint64_t now_ns();

} // namespace weft::relay
