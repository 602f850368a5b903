// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What happens to a pod's next connections, step by step? A trace puts together what the kernel's hooks saw and what
// the agent did, by socket cookie or by the two ends, in the order of their times: all are of one clock. Thread: any; a
// trace that nobody has opened costs one relaxed load at whoever reports.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "weft/abi/types.h"
#include "weft/base/result.hpp"

namespace weft::telemetry {

/// One thing that happened to a connection.
struct TraceInput {
    std::int64_t at_ns = 0; ///< CLOCK_MONOTONIC
    std::uint64_t netns = 0;
    std::uint64_t cookie = 0; ///< of the workload's socket; 0: go by the ends
    bool client = false; ///< the workload opened it
    weft_addr_port local{}, remote{}; ///< all zero: known by its cookie
    std::string step; ///< one word: "connect", "handshake-done"
    std::string by; ///< "kernel", "agent", "weft-relay"
    std::string detail;
    bool begins = false; ///< a connection may begin so
    bool opens = false; ///< the kernel has announced it, and owes its end
    bool ends = false; ///< the kernel says that it is over
    bool gives_up = false; ///< the agent is done with it
};

/// What the reader of a trace gets.
struct TraceStep {
    std::uint32_t connection = 0; ///< 1, 2, ... in the order in which they were seen
    std::int64_t since_begin_ns = 0; ///< since the connection's first step
    bool last = false; ///< of this connection
    TraceInput what;
};

/// Which connections.
struct TraceWish {
    std::uint64_t netns = 0;
    std::uint16_t port = 0; ///< only those whose server's port this is; 0: all
    std::uint32_t count = 1;
};

class Tracer;

/// One reader's trace; its end ends it. Thread: one, beside the reporters.
class Trace {
public:
    Trace(Tracer& tracer, const TraceWish& wish, std::int64_t from_ns);
    ~Trace();
    Trace(const Trace&) = delete;
    Trace& operator=(const Trace&) = delete;

    /// Steps that have become ready, oldest first; waits for some, `patience` at most. A step is held back for as long
    /// as an earlier one may still be on its way from the kernel.
    std::vector<TraceStep> wait(std::chrono::milliseconds patience);
    /// All that waits, ready or not.
    std::vector<TraceStep> rest();
    /// As many connections as were asked for have ended, and every step was given out.
    [[nodiscard]] bool complete() const;
    /// Connections that were seen so far.
    [[nodiscard]] std::uint32_t seen() const;
    /// Steps that were not kept, as nobody took them in time.
    [[nodiscard]] std::uint64_t lost() const;

    /// Called by the tracer.
    void add(const TraceInput& input);

private:
    struct Connection {
        std::uint64_t cookie = 0;
        weft_addr_port local{}, remote{};
        bool client = false;
        bool opened = false;
        std::int64_t begin_ns = 0;
        std::optional<std::int64_t> over; ///< CLOCK_MONOTONIC: since when nothing more is due
        bool closed = false; ///< its last step was given out
    };
    struct Waiting {
        std::uint32_t connection;
        TraceInput what;
    };
    Connection* find(const TraceInput& input, std::uint32_t& number);
    /// What can be given out; with `all` everything.
    std::vector<TraceStep> ready(bool all);

    Tracer& tracer_;
    const TraceWish wish_;
    const std::int64_t from_ns_;
    mutable std::mutex mutex_; ///< guards what follows: workers and the event reader add, gRPC's thread takes
    std::condition_variable news_;
    std::vector<Connection> connections_;
    std::vector<Waiting> waiting_;
    std::uint64_t lost_ = 0;
};

class Tracer {
public:
    /// Has hooks and workers report (true), or not any more (false). Must be done when it returns; may block a little.
    using Arm = std::function<Result<>(bool on)>;

    Tracer() = default;
    Tracer(const Tracer&) = delete;
    Tracer& operator=(const Tracer&) = delete;

    /// Before the first open().
    void set_arm(Arm arm) { arm_ = std::move(arm); }
    /// From its return on nothing of the wished connections is missed. Errors: EBUSY too many traces run; of Arm.
    Result<std::unique_ptr<Trace>> open(const TraceWish& wish);

    /// Somebody listens.
    [[nodiscard]] bool active() const { return active_.load(std::memory_order_relaxed); }
    void report(const TraceInput& input);
    /// The kernel's events of before `at_ns` (CLOCK_MONOTONIC) were all reported.
    void kernel_read_until(std::int64_t at_ns) { read_until_.store(at_ns, std::memory_order_relaxed); }

private:
    friend class Trace;
    void close(const Trace* trace);

    Arm arm_;
    std::atomic<bool> active_ = false;
    std::atomic<std::int64_t> read_until_ = 0;
    std::mutex open_mutex_; ///< one open() or close() at a time, as both may arm
    std::mutex mutex_; ///< guards traces_: reporters walk it
    std::vector<Trace*> traces_;
};

} // namespace weft::telemetry
