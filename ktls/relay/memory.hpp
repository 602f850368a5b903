// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// All that weft-relay knows, in one memory file that parent and child share and that outlives both programs: which
// descriptor belongs to what, which pipe serves which direction, which ends were seen. Written before the act it tells
// of, so that whoever dies leaves nothing unknown. Descriptor numbers mean the same to both, as the child shares the
// parent's descriptor table.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "weft/ktls/relay_protocol.h"

namespace weft::relay {

/// Raised whenever something below changes its place or meaning: a program takes over only what it knows.
inline constexpr std::uint32_t kLayout = 2;
inline constexpr std::size_t kMaxClients = 16;
inline constexpr std::size_t kMaxThreads = 16;
inline constexpr std::size_t kEvents = 4096;
inline constexpr std::size_t kLongestPath = 512;

/// One direction of a connection: 0 carries from application to peer, 1 from peer to application.
struct Half {
    std::atomic<std::uint64_t> bytes;
    std::atomic<std::uint32_t> pipe;      ///< number + 1 of the pipe that may hold data; 0: none
    std::atomic<std::uint8_t> ended;      ///< the source will send no more
    std::atomic<std::uint8_t> alert_sent; ///< the destination has our close_notify
    std::atomic<std::uint8_t> closed;     ///< the destination is shut down for writing: nothing is left to do
    std::atomic<std::uint8_t> limit_told; ///< key_limit was reached and said
    std::atomic<std::uint64_t> limit_at;  ///< value of `bytes` at which that happens; 0: never
};

enum SlotState : std::uint32_t {
    kFree,    ///< the parent's
    kCarried, ///< the child's
    kEnded,   ///< the parent's: descriptors are to be closed
    kKept,    ///< the parent's: `app` is held for the next agent
};

/// Events that were sent and are not answered yet: limits as WEFT_RELAY_NEW_SEND_KEY and _RECEIVE_KEY, and this.
inline constexpr std::uint8_t kToldRekey = 4;

struct Slot {
    std::atomic<std::uint32_t> state;
    std::uint32_t flags;
    std::uint64_t id;
    std::uint64_t key_limit; ///< of each key
    std::uint64_t started_ns;
    int app;
    int peer;
    std::atomic<std::uint32_t> generation; ///< counts the connections that had this slot
    std::atomic<std::uint32_t> detail;
    std::atomic<std::uint16_t> reason;
    std::atomic<std::uint8_t> close_wanted;
    std::atomic<std::uint8_t> hold_wanted; ///< 1 while nothing may be sent to the peer
    std::atomic<std::uint8_t> held;        ///< the child has stopped sending
    std::atomic<std::uint8_t> rekey_wanted; ///< the peer's KeyUpdate was read; records of its new key wait
    std::uint8_t told;                     ///< the parent's: see kToldRekey
    std::int8_t hold_client;               ///< the parent's: who waits for `held`, -1: nobody
    Half half[2];
};
static_assert(sizeof(Slot) <= 128, "an idle connection must stay small");

/// What whoever handed over wants back in the list; apart from the slots, so that unused ones cost nothing.
struct Label {
    std::uint32_t size;
    std::uint8_t bytes[WEFT_RELAY_LABEL];
};

struct Pipe {
    int read;
    int write; ///< both -1 while the pipe is not made
};

struct Header {
    std::uint32_t layout;
    std::uint32_t threads;
    std::uint32_t slots;
    std::uint32_t pipes;
    int listener;
    int to_parent;                   ///< eventfd
    int to_child[kMaxThreads];       ///< eventfds
    int epoll[kMaxThreads];          ///< the child's, made anew by the parent for each child
    int clients[kMaxClients];        ///< -1: free
    std::int32_t watcher;            ///< index of the client that gets events, -1: none
    std::int32_t upgrading;          ///< index of the client that waits for the new program, -1: none
    std::uint32_t child_deaths;
    std::uint32_t upgrades;
    std::uint32_t connections;
    std::uint32_t kept;
    std::atomic<std::uint32_t> touched; ///< no slot from here on was ever used
    std::uint64_t accepted;
    std::uint64_t refused;
    std::uint64_t events_lost;
    std::uint32_t first_event;
    std::uint32_t event_count;
    char program[kLongestPath];
    weft_relay_entry events[kEvents];
};

/// The mapped file.
class Memory {
public:
    /// A new file for so many slots and pipes. False: errno.
    bool create(std::uint32_t slots, std::uint32_t pipes, std::uint32_t threads);
    /// Takes over what an earlier program left in `fd`. False: errno, EPROTO for another layout.
    bool resume(int fd);

    [[nodiscard]] int fd() const { return fd_; }
    Header& header() { return *header_; }
    std::span<Slot> slots() { return {slots_, header_->slots}; }
    /// Those that may hold something; the rest is memory that nobody needs to touch.
    std::span<Slot> touched_slots() { return {slots_, header_->touched.load()}; }
    Label& label(std::uint32_t slot) { return labels_[slot]; }
    std::span<Pipe> pipes() { return {pipes_, header_->pipes}; }
    /// Tells the child's thread of that slot, or the parent, to look at it. Bits are set before the eventfd is written.
    void tell_child(std::uint32_t slot);
    void tell_parent(std::uint32_t slot);
    /// Calls `visit(slot)` for each slot that was told, once.
    template <typename Visit>
    void take_from_parent(std::uint32_t thread, Visit visit) {
        take(child_bits_ + thread * words(), visit);
    }
    template <typename Visit>
    void take_from_child(Visit visit) {
        take(parent_bits_, visit);
    }

private:
    using Word = std::atomic<std::uint64_t>;
    [[nodiscard]] std::size_t words() const { return (header_->slots + 63) / 64; }
    template <typename Visit>
    void take(Word* bits_of, Visit visit) {
        for (std::size_t word = 0; word < words(); ++word) {
            if (bits_of[word].load(std::memory_order_relaxed) == 0) {
                continue;
            }
            for (auto bits = bits_of[word].exchange(0); bits != 0; bits &= bits - 1) {
                visit(static_cast<std::uint32_t>(word * 64) + static_cast<std::uint32_t>(__builtin_ctzll(bits)));
            }
        }
    }
    bool map(std::size_t size);
    void lay_out(std::uint32_t slots, std::uint32_t pipes);

    int fd_ = -1;
    void* base_ = nullptr;
    Header* header_ = nullptr;
    Slot* slots_ = nullptr;
    Pipe* pipes_ = nullptr;
    Label* labels_ = nullptr;
    Word* child_bits_ = nullptr;
    Word* parent_bits_ = nullptr;
};

} // namespace weft::relay
