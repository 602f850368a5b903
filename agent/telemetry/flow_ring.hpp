// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where are recent flows until somebody asks? A bounded ring in memory: the newest replaces the oldest, every flow has
// a number, and a reader that fell behind learns exactly how many it missed. Where the kernel lost events there is a
// gap between two flows, which knows how many they were.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

namespace flow {
class Flow;
}

namespace weft::telemetry {

using FlowPtr = std::shared_ptr<const flow::Flow>;

/// Any number of readers, one writer. A mutex, because readers are gRPC's threads, sleep until the next flow, and the
/// writer's share of it is one pointer swap.
class FlowRing {
public:
    /// `capacity` flows are kept, at least one.
    explicit FlowRing(std::size_t capacity = 4096);
    FlowRing(const FlowRing&) = delete;
    FlowRing& operator=(const FlowRing&) = delete;

    /// Adds a flow and gives it its number (1, 2, ...), which is also written to flow.weft.sequence. Thread: events.
    void append(flow::Flow&& flow);
    /// How many events the kernel had lost when this agent began to read, since the hooks were attached. No gap: nobody
    /// knows when they were lost. Before the first append(). Thread: events.
    void begin_kernel_lost(std::uint64_t total, std::int64_t now_ns);
    /// How many it has lost now. When there are more than the last time, they were lost between then and `now_ns` (Unix
    /// time), and there is a gap before the next flow. Thread: events.
    void set_kernel_lost(std::uint64_t total, std::int64_t now_ns);

    /// Events that the kernel lost between two flows.
    struct Gap {
        std::uint64_t before = 0; ///< number of the flow after it
        std::uint64_t count = 0; ///< how many
        std::uint64_t total = 0; ///< set_kernel_lost()'s total after it
        std::int64_t since_ns = 0, until_ns = 0; ///< they were lost between these; Unix time
    };

    /// What a reader gets.
    struct Batch {
        std::vector<FlowPtr> flows;
        /// Between and around `flows`, oldest first. The last one may be read again, with more lost.
        std::vector<Gap> gaps;
        std::uint64_t next = 1; ///< pass as `from` of the next read
        std::uint64_t missed = 0; ///< flows between `from` and the first of these that were overwritten
        std::uint64_t kernel_lost = 0; ///< set_kernel_lost()'s total at `next`
        bool closed = false;
    };
    /// Flows from number `from` on, at most `limit`, without waiting.
    [[nodiscard]] Batch read(std::uint64_t from, std::size_t limit) const;
    /// The same, but waits until there is one, the ring is closed, or `patience` is over. What such a reader misses is
    /// counted in stats().
    [[nodiscard]] Batch wait(std::uint64_t from, std::size_t limit, std::chrono::milliseconds patience) const;

    /// Wakes every reader; nothing is appended any more.
    void close();

    /// Fill of the ring.
    struct Stats {
        std::size_t kept = 0;
        std::size_t capacity = 0;
        std::uint64_t seen = 0;
        std::uint64_t kernel_lost = 0; ///< since the hooks were attached
        std::uint64_t missed = 0; ///< flows that were overwritten before a waiting reader came to them, of all readers
    };
    [[nodiscard]] Stats stats() const;

private:
    Batch read_locked(std::uint64_t from, std::size_t limit) const;

    mutable std::mutex mutex_;
    mutable std::condition_variable news_;
    std::vector<FlowPtr> slots_; ///< number n lies in slot (n - 1) % capacity
    std::uint64_t next_ = 1; ///< number of the next flow
    std::deque<Gap> gaps_; ///< those whose neighbours are still there
    std::uint64_t kernel_lost_ = 0;
    std::int64_t lost_known_ns_ = 0; ///< when kernel_lost_ was found
    mutable std::uint64_t missed_ = 0;
    bool closed_ = false;
};

} // namespace weft::telemetry
