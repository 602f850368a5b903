// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The inside of a Context, which Handshake shares.
#pragma once

#include <string>

#include "ktls/tls/issuers.hpp"
#include "ktls/tls/session_cache.hpp"
#include "ktls/tls/verify.hpp"
#include "weft/ktls/context.hpp"

namespace weft::ktls {

struct Context::Impl {
    explicit Impl(const ContextOptions& wanted)
        : options(wanted), sessions(wanted.client_sessions, wanted.ticket_seconds),
          given(wanted.server_sessions, wanted.ticket_seconds) {}

    ContextOptions options;
    SpiffeId id;
    std::string serial;
    TrustStores stores;
    std::optional<IssuerName> issuer; ///< the intermediate that peers need not send, and we not to those who have it
    OsslPtr<SSL_CTX> client;
    OsslPtr<SSL_CTX> server;
    SessionCache sessions; ///< as a client: by destination
    SessionCache given;    ///< as a server: by the name that the client's ticket carries
};

} // namespace weft::ktls
