// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where are recent flows until somebody asks? A bounded ring in memory: the newest replaces the oldest, every flow has
// a number, and a reader that fell behind learns exactly how many it missed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
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
    /// Tells readers that the kernel's ring lost events: `total` since the hooks were attached. Thread: events.
    void set_kernel_lost(std::uint64_t total);

    /// What a reader gets.
    struct Batch {
        std::vector<FlowPtr> flows;
        std::uint64_t next = 1; ///< pass as `from` of the next read
        std::uint64_t missed = 0; ///< flows between `from` and the first of these that were overwritten
        std::uint64_t kernel_lost = 0; ///< total of set_kernel_lost
        bool closed = false;
    };
    /// Flows from number `from` on, at most `limit`, without waiting.
    [[nodiscard]] Batch read(std::uint64_t from, std::size_t limit) const;
    /// The same, but waits until there is one, the ring is closed, or `patience` is over.
    [[nodiscard]] Batch wait(std::uint64_t from, std::size_t limit, std::chrono::milliseconds patience) const;

    /// Wakes every reader; nothing is appended any more.
    void close();

    /// Fill of the ring.
    struct Stats {
        std::size_t kept = 0;
        std::size_t capacity = 0;
        std::uint64_t seen = 0;
        std::uint64_t kernel_lost = 0;
    };
    [[nodiscard]] Stats stats() const;

private:
    Batch read_locked(std::uint64_t from, std::size_t limit) const;

    mutable std::mutex mutex_;
    mutable std::condition_variable news_;
    std::vector<FlowPtr> slots_; ///< number n lies in slot (n - 1) % capacity
    std::uint64_t next_ = 1; ///< number of the next flow
    std::uint64_t kernel_lost_ = 0;
    bool closed_ = false;
};

} // namespace weft::telemetry
