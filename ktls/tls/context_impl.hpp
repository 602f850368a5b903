// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The inside of a Context, which Handshake shares.
#pragma once

#include <atomic>
#include <string>

#include "ktls/tls/session_cache.hpp"
#include "ktls/tls/verify.hpp"
#include "weft/ktls/context.hpp"

namespace weft::ktls {

struct Context::Impl {
    explicit Impl(const ContextOptions& given) : options(given), sessions(given.client_sessions) {}

    ContextOptions options;
    SpiffeId id;
    std::string serial;
    TrustStores stores;
    OsslPtr<SSL_CTX> client;
    OsslPtr<SSL_CTX> server;
    SessionCache sessions;
    /// Tickets carry the number that this had when they were made; others are not taken.
    std::atomic<std::uint64_t> ticket_generation = 0;
};

} // namespace weft::ktls
