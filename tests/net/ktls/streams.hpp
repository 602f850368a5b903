// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Connected TCP sockets on loopback, deadlines, and two handshakes driven against each other.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "weft/base/unique_fd.hpp"
#include "weft/ktls/handshake.hpp"

namespace weft::ktls::test {

/// Emulated guests are slow; nothing that works takes this long.
inline constexpr std::chrono::seconds kPatience{60};

/// Both ends of one connection over loopback, TCP_NODELAY set. `mss` 0: the system's.
struct TcpPair {
    explicit TcpPair(int mss = 0, bool ipv6 = false);
    UniqueFd client;
    UniqueFd server;
};

/// Waits until `fd` has one of `events` or the patience ends. Returns the events that are there.
short wait_for(int fd, short events, std::chrono::milliseconds limit = kPatience);
/// Polls `condition` every few milliseconds until it holds; false when the limit came first.
bool eventually(const std::function<bool()>& condition, std::chrono::milliseconds limit = kPatience);

/// Runs both sides to their ends, in one thread. Each is done or failed afterwards, or the test fails.
struct Outcome {
    Step client;
    Step server;
};
Outcome drive(Handshake& client, int client_fd, Handshake& server, int server_fd);

/// Anybody may be at the other end.
Result<> anybody(const Peer& peer);

/// A finished handshake over a new connection.
struct Secured {
    TcpPair sockets;
    std::optional<Handshake> client;
    std::optional<Handshake> server;
};
/// Fails the test when one side does not finish.
Secured secure(const std::shared_ptr<const Context>& client, const std::shared_ptr<const Context>& server,
               const std::string& resumption_key = "", int mss = 0);

} // namespace weft::ktls::test
