// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Moves plaintext between two sockets on this thread, where weft-relay is not used: a permissive workload's application
// gets a connection as it came. The same shape as ktls::UserspaceRelay. Thread: the worker's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "weft/ktls/userspace_relay.hpp"

namespace weft::mesh {

class PlainRelay {
public:
    using State = ktls::UserspaceRelay::State;

    /// The descriptors stay the caller's and must live as long as this.
    PlainRelay(int app, int wire)
        : halves_{Half{app, wire, {}, 0, 0, false, false}, Half{wire, app, {}, 0, 0, false, false}} {}

    /// Moves what can be moved now, to be called on every edge of both descriptors.
    State step(bool error_event = false);
    /// Both directions ended in order; else closing has to reset both connections.
    [[nodiscard]] bool finished() const { return halves_[0].closed && halves_[1].closed; }
    [[nodiscard]] std::uint64_t to_peer() const { return halves_[0].moved; }
    [[nodiscard]] std::uint64_t to_app() const { return halves_[1].moved; }

private:
    struct Half {
        int from;
        int to;
        std::vector<std::uint8_t> bytes; ///< read, not yet written; empty while the connection is idle
        std::size_t written;
        std::uint64_t moved; ///< bytes, since the beginning
        bool ended; ///< no more comes
        bool closed; ///< and that is passed on
    };
    static bool move(Half& half, std::size_t& budget);

    std::array<Half, 2> halves_;
};

} // namespace weft::mesh
