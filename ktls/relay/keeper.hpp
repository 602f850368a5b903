// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The parent: owns every descriptor, starts a child whenever there is none, answers the agent, and turns into the next
// version of itself. It reads and writes no byte of any connection.
#pragma once

#include <sys/types.h>

#include "ktls/relay/memory.hpp"

namespace weft::relay {

class Keeper {
public:
    explicit Keeper(Memory& memory) : memory_(memory) {}
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
    std::uint16_t hand_over(const weft_relay_request& request, int app, int peer);
    void list(int client, const weft_relay_request& request);
    void hello(int client);
    void hold(int client, const weft_relay_request& request);
    void upgrade(int client);
    void answer(int client, std::uint16_t op, std::uint64_t id, std::uint16_t status, int fd = -1);
    void send(int client, const void* message, std::size_t size, int fd = -1);
    bool try_send(int client, const void* message, std::size_t size, int fd);

    void finish(std::uint32_t number);
    void tell(std::uint32_t number, std::uint16_t state, std::uint16_t reason);
    void send_events();
    Slot* find(std::uint64_t id, std::uint32_t* number = nullptr);
    static weft_relay_entry entry_of(const Slot& slot);

    Memory& memory_;
    pid_t child_ = -1;
    std::uint64_t child_started_ns_ = 0;
    std::uint32_t lowest_free_ = 0; ///< no slot below it is free
    int signals_ = -1;
};

} // namespace weft::relay
