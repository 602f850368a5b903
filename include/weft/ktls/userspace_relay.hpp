// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The tier without kernel TLS: OpenSSL goes on with the connection of a finished handshake, and payload passes through
// this process. For an event loop: register both descriptors once with kEvents (edge-triggered), call step() whenever
// one has an event, and again soon while it says kAgain. Level-triggered loops use wants(), and leave a descriptor out
// when nothing is wanted of it, as a half-closed socket reports its hang-up for ever. Memory: beside OpenSSL's own at
// most one record per direction, and none while the connection is idle. Thread: one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "weft/ktls/openssl_ptr.hpp"
#include "weft/ktls/relay_protocol.h"

namespace weft::ktls {

/// Limits on a key, as in weft_relay_request.
struct UserspaceOptions {
    /// Both ends agreed that keys can change (Established::rekey): at key_limit a new one is made.
    bool rekey = false;
    /// Bytes that one direction may carry under one key; 0: no limit.
    std::uint64_t key_limit = 0;
    /// Without rekey: end the connection at the limit. Else only limit_reached() tells.
    bool close_at_limit = false;
};

class UserspaceRelay {
public:
    /// EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
    static const std::uint32_t kEvents;

    enum class State : std::uint8_t {
        kWaits, ///< for events
        kAgain, ///< there is more to do, but others should have their turn
        kEnded, ///< close both descriptors; see reason()
    };
    struct Wants {
        bool app_read = false;
        bool app_write = false;
        bool peer_read = false;
        bool peer_write = false;
    };

    /// `ssl` from Handshake::release(). The descriptors stay the caller's and must live as long as this.
    UserspaceRelay(OsslPtr<SSL> ssl, int app, int peer, const UserspaceOptions& options = {});
    UserspaceRelay(UserspaceRelay&&) = default;
    UserspaceRelay& operator=(UserspaceRelay&&) = default;
    ~UserspaceRelay();

    /// Moves what can be moved now. `error_event`: a descriptor reported EPOLLERR.
    /// After kEnded for another reason than WEFT_RELAY_REASON_FINISHED closing the descriptors resets both connections:
    /// the application never takes a truncated stream for a whole one.
    State step(bool error_event = false);
    /// Ends it, as after a revocation: both connections will be reset.
    void abort(std::uint16_t reason = WEFT_RELAY_REASON_REQUESTED);

    [[nodiscard]] Wants wants() const;
    /// WEFT_RELAY_REASON_..., NONE while it runs.
    [[nodiscard]] std::uint16_t reason() const { return reason_; }
    /// errno or number of the peer's alert.
    [[nodiscard]] std::uint32_t detail() const { return detail_; }
    [[nodiscard]] std::uint64_t to_peer() const { return to_peer_; }
    [[nodiscard]] std::uint64_t to_app() const { return to_app_; }
    [[nodiscard]] bool app_ended() const { return app_ended_; }
    [[nodiscard]] bool peer_ended() const { return peer_ended_; }
    [[nodiscard]] bool limit_reached() const { return limit_reached_; }

private:
    bool move_out();
    bool move_in();
    bool encrypt(const std::uint8_t* bytes, std::size_t size, std::size_t& done);
    bool deliver(const std::uint8_t* bytes, std::size_t size, std::size_t& done);
    void close_out();
    void close_in();
    void account();
    void end_from_openssl(int result);
    void end(std::uint16_t reason, std::uint32_t detail);

    OsslPtr<SSL> ssl_;
    int app_;
    int peer_;
    UserspaceOptions options_;
    std::vector<std::uint8_t> out_; ///< read from the application, not yet taken by OpenSSL
    std::vector<std::uint8_t> in_; ///< decrypted, not yet taken by the application's socket
    std::uint64_t to_peer_ = 0;
    std::uint64_t to_app_ = 0;
    std::uint64_t next_limit_ = 0;
    std::uint32_t detail_ = 0;
    std::uint16_t reason_ = WEFT_RELAY_REASON_NONE;
    bool app_ended_ = false;
    bool peer_ended_ = false;
    bool out_closed_ = false; ///< close_notify and FIN are sent to the peer
    bool in_closed_ = false; ///< FIN is sent to the application
    bool limit_reached_ = false;
    bool wants_peer_write_ = false;
};

} // namespace weft::ktls
