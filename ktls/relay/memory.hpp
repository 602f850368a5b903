// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// All that weft-relay knows, in one memory file that parent and child share and that outlives both programs: which
// descriptor belongs to what, which pipe serves which direction, which ends were seen. Written before the act it tells
// of, so that whoever dies leaves nothing unknown. Descriptor numbers mean the same to both, as the child shares the
// parent's descriptor table. The file is as large as it can ever get, but what nobody touches takes no memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "weft/ktls/relay_protocol.h"

namespace weft::relay {

/// Raised whenever something below changes its place or meaning: a program takes over only what it knows.
inline constexpr std::uint32_t kLayout = 3;
inline constexpr std::uint32_t kMostSlots = 131072;
inline constexpr std::uint32_t kMostPipes = 4096;
inline constexpr std::size_t kMostClients = 16;
inline constexpr std::uint32_t kMostThreads = 16;
inline constexpr std::size_t kEvents = 4096;
inline constexpr std::size_t kLongestPath = 512;

/// The two ends of a connection. The direction that begins at one has its number: 0 goes from application to peer.
enum Side : int { kApp, kPeer };

/// How far a direction came.
enum Progress : std::uint8_t {
    kOpen,
    kSourceEnded, ///< the source will send no more
    kAlertSent,   ///< the destination has our close_notify
    kClosed,      ///< the destination is shut down for writing: nothing is left to do
};

/// One direction of a connection.
struct Half {
    std::atomic<std::uint64_t> bytes;
    std::atomic<std::uint64_t> spent;    ///< of key_limit, under the key in use
    std::atomic<std::uint32_t> pipe;     ///< number + 1 of the pipe that may hold data; 0: none
    std::atomic<std::uint8_t> progress;
};

enum SlotState : std::uint32_t {
    kFree,    ///< the parent's
    kCarried, ///< the child's
    kEnded,   ///< the parent's: descriptors are to be closed
    kKept,    ///< the parent's: one socket is held for the next agent
};

/// What the child has to say of a connection, as bits: WEFT_RELAY_NEW_SEND_KEY and _RECEIVE_KEY when key_limit is
/// reached that way, and this.
inline constexpr std::uint8_t kPeerRekeyed = 4; ///< its KeyUpdate was read; records of its new key wait

struct Slot {
    std::atomic<std::uint32_t> state;
    std::uint32_t flags;
    std::uint64_t id;
    std::uint64_t key_limit; ///< of each key
    std::uint64_t started_ns;
    int fds[2]; ///< by side; of a kept one only the application's
    std::atomic<std::uint32_t> generation; ///< counts the connections that had this slot
    std::atomic<std::uint32_t> detail;
    std::atomic<std::uint16_t> reason;
    std::atomic<std::uint8_t> close_wanted;
    std::atomic<std::uint8_t> hold_wanted; ///< a number of its own while nothing may be sent to the peer, else 0
    std::atomic<std::uint8_t> held;        ///< the child's: the newest such number that it obeys
    std::atomic<std::uint8_t> news;        ///< the child's, until the parent says that it is settled
    std::uint8_t told;                     ///< the parent's: news that it has passed on
    std::int8_t hold_client;               ///< the parent's: who waits for the hold, -1: nobody
    Half half[2];

    [[nodiscard]] bool is_held() const { return hold_wanted.load() != 0 && held.load() == hold_wanted.load(); }
    [[nodiscard]] bool is_tls(int side) const {
        return (flags & (side == kApp ? WEFT_RELAY_APP_TLS : WEFT_RELAY_PEER_TLS)) != 0;
    }
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

/// Slots that somebody has to look at.
class Marks {
public:
    /// Before the eventfd is written.
    void set(std::uint32_t slot) { words_[slot / 64].fetch_or(std::uint64_t{1} << slot % 64); }
    /// Calls `visit(slot)` once for each of the first `slots` that is set, after the eventfd was read.
    template <typename Visit>
    void take(std::uint32_t slots, Visit visit) {
        for (std::uint32_t word = 0; word * 64 < slots; ++word) {
            const bool any = words_[word].load(std::memory_order_relaxed) != 0;
            for (auto bits = any ? words_[word].exchange(0) : 0; bits != 0; bits &= bits - 1) {
                visit(word * 64 + static_cast<std::uint32_t>(__builtin_ctzll(bits)));
            }
        }
    }

private:
    std::atomic<std::uint64_t> words_[kMostSlots / 64];
};

/// The mapped file.
struct Shared {
    std::uint32_t layout;
    std::uint32_t threads; ///< a slot and a pipe belong to the thread `number % threads`
    std::uint32_t room;    ///< slots in use
    std::uint32_t pool;    ///< pipes in use
    std::uint32_t child_deaths;
    std::uint32_t upgrades;
    std::uint64_t accepted;
    std::uint64_t refused;
    std::uint64_t events_lost;
    int file;
    int listener;
    int to_parent;               ///< eventfd
    int to_child[kMostThreads];  ///< eventfds
    int epoll[kMostThreads];     ///< the child's, made anew by the parent for each child
    int clients[kMostClients];   ///< -1: free
    int watcher;                 ///< index of the client that gets events, -1: none
    int upgrading;               ///< index of the client that waits for the new program, -1: none
    std::atomic<std::uint32_t> touched; ///< no slot from here on was ever used
    std::uint32_t first_event;
    std::uint32_t event_count;
    char program[kLongestPath];
    weft_relay_entry events[kEvents];
    Pipe pipes[kMostPipes];
    Marks for_parent;
    Marks for_child[kMostThreads];
    Slot slots[kMostSlots];
    Label labels[kMostSlots];

    /// A new file. Null: errno.
    static Shared* create(std::uint32_t room, std::uint32_t pool, std::uint32_t threads);
    /// What an earlier program left in `file`. Null: errno, EPROTO for another layout.
    static Shared* resume(int file);

    /// Those that may hold something; the rest is memory that nobody needs to touch.
    std::span<Slot> used() { return {slots, touched.load()}; }
    [[nodiscard]] std::uint32_t number_of(const Slot& slot) const { return static_cast<std::uint32_t>(&slot - slots); }
    Label& label_of(const Slot& slot) { return labels[number_of(slot)]; }
    /// Tells the child's thread of that slot, or the parent, to look at it.
    void tell_child(const Slot& slot);
    void tell_parent(const Slot& slot);
};

} // namespace weft::relay
