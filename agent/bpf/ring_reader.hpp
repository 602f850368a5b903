// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do flow events come out of the kernel's ring? Whoever owns a loop watches fd() and calls consume().
#pragma once

#include <functional>
#include <memory>

#include "weft/abi/event.h"
#include "weft/base/result.hpp"

namespace weft::bpf {

/// Thread: one; fd() may be watched by any epoll.
class RingReader {
public:
    /// `map_fd`: weft_events, borrowed for the call. Error: not a ring buffer, no memory.
    static Result<RingReader> open(int map_fd);
    RingReader(RingReader&&) noexcept;
    RingReader& operator=(RingReader&&) noexcept;
    ~RingReader();

    /// Readable when events wait.
    [[nodiscard]] int fd() const;
    /// Hands over every waiting event and returns how many. `handle` must not call consume().
    Result<std::size_t> consume(const std::function<void(const weft_event&)>& handle);

private:
    struct State;
    explicit RingReader(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace weft::bpf
