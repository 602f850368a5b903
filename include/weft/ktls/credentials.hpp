// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who this end is and whom it believes: key, certificate chain, and the roots of each trust domain.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "weft/base/result.hpp"
#include "weft/base/spiffe_id.hpp"
#include "weft/ktls/openssl_ptr.hpp"

namespace weft::ktls {

/// Roots by trust domain. A domain may have several, so that roots can rotate.
using TrustBundles = std::map<std::string, std::vector<OsslPtr<X509>>>;

/// Everything that a Context is made from.
struct Credentials {
    OsslPtr<EVP_PKEY> key;
    /// Leaf first, then intermediates.
    std::vector<OsslPtr<X509>> chain;
    TrustBundles roots;
};

/// Certificates from PEM, in their order. Errors: EINVAL when there is none or one cannot be read.
Result<std::vector<OsslPtr<X509>>> certificates_from_pem(std::string_view pem);
/// A private key from PEM without passphrase. Error: EINVAL.
Result<OsslPtr<EVP_PKEY>> key_from_pem(std::string_view pem);

/// The one SPIFFE ID in a leaf's subject alternative names. Errors: EINVAL when there is no URI, more than one, one
/// that is no SPIFFE ID, or the certificate is a CA's.
Result<SpiffeId> spiffe_id_of(const X509* leaf);
/// Upper case hex digits, as `openssl x509 -serial` prints them.
std::string serial_of(const X509* certificate);

} // namespace weft::ktls
