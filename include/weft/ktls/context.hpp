// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What all handshakes of one workload share: an immutable TLS configuration for both roles, and the
// sessions that can be resumed. A rotated certificate gets a new Context; handshakes under way keep the old one alive,
// and tickets of the old one are worthless from then on. Thread: any; a Context is shared by all handshake workers.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "weft/base/result.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/credentials.hpp"
#include "weft/ktls/traffic.hpp"

namespace weft::ktls {

/// The protocol name in ALPN. Features that both ends must have are asked for as "weft/1+FEATURE" before it.
inline constexpr std::string_view kAlpn = "weft/1";
/// The same, and both ends can change keys: see Established::rekey.
inline constexpr std::string_view kAlpnRekey = "weft/1+rekey";

struct ContextOptions {
    /// This end survives a KeyUpdate, whichever tier carries the connection (see Probe::rekey).
    bool rekey = false;
    /// Destinations whose last session is kept for resumption; 0 turns resumption off for clients.
    std::size_t client_sessions = 4096;
    /// Sessions of clients that are kept, so that their tickets mean something; 0 turns resumption off for servers.
    std::size_t server_sessions = 1024;
    /// How long a session is kept, and a ticket can be used.
    long ticket_seconds = 3600;
    /// Most liked first; as preferred_ciphers() when empty.
    std::vector<Cipher> ciphers;
};

class Context {
public:
    /// Checks that key, chain and id fit. Errors: EINVAL naming what does not.
    static Result<std::shared_ptr<const Context>> create(const Credentials& credentials,
                                                         const ContextOptions& options = {});
    Context(const Context&) = delete;
    Context& operator=(const Context&) = delete;
    ~Context();

    /// The identity of the leaf.
    [[nodiscard]] const SpiffeId& id() const;
    /// The leaf's serial number, as serial_of() writes it.
    [[nodiscard]] const std::string& serial() const;
    /// Sessions kept for resumption as a client at the moment.
    [[nodiscard]] std::size_t session_count() const;
    /// The same as a server.
    [[nodiscard]] std::size_t given_session_count() const;
    /// Forgets every kept session, and makes the tickets given to clients worthless: after a revocation.
    void forget_sessions() const;

    /// For the library's own use.
    struct Impl;
    [[nodiscard]] Impl& impl() const { return *impl_; }

private:
    explicit Context(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::ktls
