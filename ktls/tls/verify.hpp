// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Is this certificate chain the proof of an identity that may be here? Used by the full handshake and, for the leaf of
// a resumed session, again.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/failure.hpp"
#include "weft/ktls/handshake.hpp"

namespace weft::ktls {

/// One store of roots for each trust domain.
using TrustStores = std::map<std::string, OsslPtr<X509_STORE>>;

struct Verdict {
    std::optional<Peer> peer;       ///< when the leaf had one
    std::optional<Failure> failure; ///< nullopt: proven and allowed
    int x509_error = X509_V_OK;     ///< decides the alert that the peer gets
    std::string detail;
};

/// `untrusted` may be null; `purpose` is "ssl_client" or "ssl_server": what the leaf must be made for.
Verdict verify_peer(const TrustStores& stores, X509* leaf, STACK_OF(X509) * untrusted, const char* purpose,
                    const Authorise& authorise);
/// The leaf of a session that was verified when it was made, under the same roots: is it still in time, and allowed?
Verdict verify_again(X509* leaf, const Authorise& authorise);

} // namespace weft::ktls
