// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/plain_relay.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace weft::mesh {
namespace {

constexpr std::size_t kChunk = 64UL * 1024;
/// Bytes of one connection before others have their turn.
constexpr std::size_t kBudget = 1024UL * 1024;

} // namespace

/// False when the connection broke.
bool PlainRelay::move(Half& half, std::size_t& budget) {
    while (!half.closed && budget > 0) {
        if (half.bytes.empty() && !half.ended) {
            half.bytes.resize(kChunk);
            const ssize_t got = ::recv(half.from, half.bytes.data(), half.bytes.size(), MSG_DONTWAIT);
            half.bytes.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
            half.written = 0;
            if (got < 0) {
                half.bytes.shrink_to_fit();
                return errno == EAGAIN || errno == EINTR;
            }
            half.ended = got == 0;
        }
        while (half.written < half.bytes.size()) {
            const ssize_t put = ::send(half.to, half.bytes.data() + half.written, half.bytes.size() - half.written,
                                       MSG_DONTWAIT | MSG_NOSIGNAL);
            if (put < 0) {
                return errno == EAGAIN || errno == EINTR;
            }
            half.written += static_cast<std::size_t>(put);
            half.moved += static_cast<std::uint64_t>(put);
            budget -= std::min(budget, static_cast<std::size_t>(put));
        }
        half.bytes.clear();
        if (half.ended) {
            half.closed = true;
            return ::shutdown(half.to, SHUT_WR) == 0;
        }
    }
    return true;
}

PlainRelay::State PlainRelay::step(bool error_event) {
    if (error_event) {
        return State::kEnded;
    }
    for (Half& half : halves_) {
        std::size_t budget = kBudget;
        if (!move(half, budget)) {
            return State::kEnded;
        }
        if (budget == 0) {
            return State::kAgain;
        }
    }
    return finished() ? State::kEnded : State::kWaits;
}

} // namespace weft::mesh
