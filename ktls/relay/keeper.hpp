// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The parent: owns every descriptor, starts a child whenever there is none, answers the agent, and turns into the next
// version of itself. It reads and writes no byte of any connection.
#pragma once

#include <sys/types.h>

#include <unordered_map>

#include "ktls/relay/memory.hpp"

namespace weft::relay {

class Keeper {
public:
    explicit Keeper(Memory& memory);
    Keeper(const Keeper&) = delete;
    Keeper& operator=(const Keeper&) = delete;
    /// Until SIGTERM. Returns the exit code.
    int run();

private:
    void start_child();
    void reap();
    void serve_child();

    void accept_client();
    void drop_client(int client);
    void serve(int client);
    /// What came in one message.
    struct Request {
        weft_relay_request head;
        std::uint8_t label[WEFT_RELAY_LABEL];
        std::uint32_t label_size;
        int fds[2];
        std::size_t count; ///< of fds
    };
    std::uint16_t carry_out(int client, const Request& request, bool& answered);
    std::uint16_t hand_over(const Request& request);
    std::uint16_t keep(const Request& request);
    std::uint16_t close(std::uint64_t id);
    std::uint16_t go_on(const weft_relay_request& request);
    Slot* take_slot(const Request& request, std::uint32_t* number);
    void drop_kept(std::uint32_t number);
    void release(std::uint32_t number);
    void fetch(int client, std::uint64_t id);
    void list(int client, const weft_relay_request& request);
    void hello(int client);
    void hold(int client, const weft_relay_request& request);
    void upgrade(int client);
    void answer(int client, std::uint16_t op, std::uint64_t id, std::uint16_t status, int fd = -1);
    void send(int client, const void* message, std::size_t size, int fd = -1);
    bool try_send(int client, const void* message, std::size_t size, int fd);

    void finish(std::uint32_t number);
    void tell(std::uint32_t number, std::uint16_t state, std::uint16_t reason, std::uint32_t detail);
    void send_events();
    /// The slot of a connection, or of a kept socket, that is in `state`; null when there is none.
    Slot* find(std::uint64_t id, SlotState state = kCarried, std::uint32_t* number = nullptr);
    static weft_relay_entry entry_of(const Slot& slot);

    Memory& memory_;
    pid_t child_ = -1;
    std::uint64_t child_started_ns_ = 0;
    std::uint32_t lowest_free_ = 0; ///< no slot below it is free
    std::unordered_map<std::uint64_t, std::uint32_t> by_id_; ///< slots that are carried or kept
    int signals_ = -1;
};

} // namespace weft::relay
