// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Talks to weft-relay. Requests are sent at once and never block; answers and events come through receive(), so that an
// event loop can own the descriptor. await() is for programs without a loop.
// Thread: one.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"
#include "weft/ktls/relay_protocol.h"

namespace weft::ktls {

/// "peer-reset": the word for a WEFT_RELAY_REASON_ number, "unknown" for one that this program does not know.
std::string_view relay_reason_name(std::uint16_t reason);
/// One sentence for a status other than WEFT_RELAY_OK.
std::string_view relay_status_text(std::uint16_t status);

/// One message from the relay.
struct RelayMessage {
    weft_relay_answer head{};
    std::vector<weft_relay_entry> entries; ///< of WEFT_RELAY_LIST and WEFT_RELAY_EVENT
    std::vector<std::string> labels; ///< of the entries; empty ones in events
    weft_relay_info info{}; ///< of WEFT_RELAY_HELLO
    UniqueFd
        peer; ///< of WEFT_RELAY_HOLD: for the new keys, to be closed before go_on(); of WEFT_RELAY_FETCH: the socket
};

class RelayClient {
public:
    /// Connects to the relay's socket. Error: of connect(2), as ENOENT or ECONNREFUSED when there is no relay.
    static Result<RelayClient> connect(const std::string& path);

    /// For epoll: readable when receive() has something.
    [[nodiscard]] int fd() const { return fd_.get(); }

    // Requests. Error: EAGAIN when the relay is behind with reading, EPIPE when it is gone.

    /// Gives a connection away under `id`. `app` and `peer` stay the caller's: close them after WEFT_RELAY_OK, as the
    /// relay's close means nothing while others hold the sockets; go on with them after any other answer. `key_limit`:
    /// as in weft_relay_request. `label`: at most WEFT_RELAY_LABEL bytes, given back in the list.
    Result<> hand_over(std::uint64_t id, int app, int peer, std::uint32_t flags, std::uint64_t key_limit = 0,
                       std::string_view label = {});
    /// Lets the relay hold a socket for the next agent; only a refusal is answered. hand_over() or close() of the same
    /// id ends it.
    Result<> keep(std::uint64_t id, int fd, std::string_view label);
    /// A kept socket; the answer brings its descriptor.
    Result<> fetch(std::uint64_t id);
    /// What the relay says about itself.
    Result<> hello();
    /// As many connections and kept sockets as fit; ask again with the answer's cursor until that is 0.
    Result<> list(std::uint32_t cursor = 0);
    /// One connection; no entry in the answer when there is none.
    Result<> get(std::uint64_t id);
    /// Resets a connection.
    Result<> close(std::uint64_t id);
    /// Events come to this client from now on.
    Result<> watch();
    /// The relay becomes the program that is installed now.
    Result<> upgrade();
    /// Stops sending to the peer; the answer brings its descriptor.
    Result<> hold(std::uint64_t id);
    /// `changed`: WEFT_RELAY_NEW_*, the keys that are new.
    Result<> go_on(std::uint64_t id, std::uint32_t changed = WEFT_RELAY_NEW_SEND_KEY | WEFT_RELAY_NEW_RECEIVE_KEY);

    /// The next message; nullopt when none has come. Error: EPIPE when the relay is gone, EPROTO for nonsense.
    Result<std::optional<RelayMessage>> receive();
    /// Blocks for the answer to `op`; events that come before it wait for receive(). Error: ETIMEDOUT, or as receive().
    Result<RelayMessage> await(std::uint16_t op, std::chrono::milliseconds limit);

private:
    explicit RelayClient(UniqueFd fd) : fd_(std::move(fd)) {}
    Result<> send(const weft_relay_request& request, std::span<const int> fds = {}, std::string_view label = {});
    Result<> send(std::uint16_t op, std::uint64_t id = 0, std::uint32_t cursor = 0);
    Result<std::optional<RelayMessage>> read_one();

    UniqueFd fd_;
    std::deque<RelayMessage> waiting_; ///< events that came while await() looked for something else
};

} // namespace weft::ktls
