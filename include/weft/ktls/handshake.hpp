// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One TLS 1.3 handshake on a connected socket that somebody else owns, as a state machine for an event loop: call
// step() until it is done or failed, and wait for what it wants in between. It never blocks, never reads a byte that
// belongs to the first application record, and leaves descriptor flags as they are. Thread: one at a time; different
// handshakes of one Context may run on different threads.
#pragma once

#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "weft/base/result.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/context.hpp"
#include "weft/ktls/failure.hpp"
#include "weft/ktls/traffic.hpp"

namespace weft::ktls {

/// The other end, as its certificate proves it.
struct Peer {
    SpiffeId id;
    std::string serial;        ///< of the leaf, as serial_of() writes it
    std::time_t not_after = 0; ///< when the leaf expires
};

/// Decides inside the handshake whether a proven identity may be at the other end. An error becomes an alert to the
/// peer and Failure::kIdentityRefused here. Also asked again when a session is resumed. Must not block.
using Authorise = std::function<Result<>(const Peer& peer)>;

/// The client's side.
struct ClientOptions {
    Authorise authorise;
    /// Whose name goes into the server name extension, as SA.NS.TRUST-DOMAIN; none when unknown or too long for it.
    std::optional<SpiffeId> server;
    /// Sessions are resumed only under the key under which they were made: destination identity and address, say.
    /// Empty: neither resume nor keep.
    std::string resumption_key;
};

/// The server's side.
struct ServerOptions {
    Authorise authorise;
};

enum class Step : std::uint8_t { kWantRead, kWantWrite, kDone, kFailed };

/// What a finished handshake proved and agreed.
struct Established {
    Peer peer;
    bool resumed = false;
    bool rekey = false; ///< both ends survive a KeyUpdate
    bool left_over = false; ///< the peer broke weft/1: OpenSSL holds data, so only the userspace tier can go on
    std::string group; ///< "x25519"
    Traffic traffic; ///< for install()
};

/// Why there is no connection.
struct HandshakeFailure {
    Failure reason = Failure::kInternal;
    int alert = 0; ///< number of the alert that the peer sent, 0 for none
    std::optional<Peer>
        peer; ///< when a certificate with an identity came; proven only if the reason is kIdentityRefused
    std::string detail; ///< one line
};

class Handshake {
public:
    /// `fd` stays the caller's, must be a connected stream socket, and must live as long as this object or the SSL that
    /// release() returns.
    static Result<Handshake> client(std::shared_ptr<const Context> context, int fd, ClientOptions options);
    static Result<Handshake> server(std::shared_ptr<const Context> context, int fd, ServerOptions options);
    Handshake(Handshake&&) noexcept;
    Handshake& operator=(Handshake&&) noexcept;
    ~Handshake();

    /// Goes on as far as the socket allows. After kDone or kFailed it changes nothing and says the same again. A client
    /// is done only when the server has accepted it (its ticket has come).
    [[nodiscard]] Step step();
    /// Gives up: kFailed with kTimeout.
    void time_out();

    /// Only after kDone.
    [[nodiscard]] const Established& established() const;
    /// Only after kFailed.
    [[nodiscard]] const HandshakeFailure& failure() const;
    /// The connection for UserspaceRelay; the handshake is empty then. Only after kDone, and never after install().
    [[nodiscard]] OsslPtr<SSL> release();

    /// For the library's own use.
    struct Impl;

private:
    explicit Handshake(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::ktls
