// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A client's end of one connection to peer::serve, with failures as exceptions: one case of many reports and goes on.
#pragma once

#include <stdexcept>
#include <string>

#include "tests/e2e/mesh/peer.hpp"
#include "tests/support/sockets.hpp"

namespace weft::e2e::peer {

/// Why a case failed.
struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

inline constexpr int kPatienceSeconds = 180;

/// Connected, and the line sent (unless it is empty). Throws Failure.
inline UniqueFd open_connection(const std::string& address, const std::string& line, int port = kPort) {
    const test::SockAddr to(address, static_cast<std::uint16_t>(port));
    auto fd = test::open_socket(to.family(), SOCK_STREAM, kPatienceSeconds);
    if (const int error = test::connect_to(fd.get(), to); error != 0) {
        throw Failure(std::string("connect: ") + strerrorname_np(error));
    }
    if (const int error = line.empty() ? 0 : test::send_text(fd.get(), line + "\n"); error != 0) {
        throw Failure(std::string("send: ") + strerrorname_np(error));
    }
    return fd;
}

/// What comes until the end of the stream, at most a few lines. Throws Failure when it ends otherwise.
inline std::string rest_of(int fd) {
    std::string text;
    for (;;) {
        const auto [part, from] = test::receive(fd);
        if (part.starts_with("!")) {
            throw Failure("receive after '" + text + "': " + part.substr(1));
        }
        if (part.empty()) {
            return text;
        }
        text += part;
    }
}

inline void expect(const std::string& got, const std::string& wanted) {
    if (got != wanted) {
        throw Failure("got '" + got + "' instead of '" + wanted + "'");
    }
}

} // namespace weft::e2e::peer
