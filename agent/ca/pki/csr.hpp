// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Certificate requests: made by nodes, judged by the authority. They come from machines that may be compromised, so
// only two things are taken from one: the public key, and one URI.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "agent/ca/pki/openssl_owner.hpp"
#include "weft/base/result.hpp"

namespace weft::pki {

/// The longest request in bytes that is looked at.
inline constexpr std::size_t kMaxCsr = 4096;

/// What a request asks for.
struct Csr {
    std::string uri; ///< not judged: any text
    OsslPtr<EVP_PKEY> key; ///< public half only
};

/// PKCS#10, DER, with `uri` as its only name, signed by `key`. Error: EIO.
Result<std::string> make_csr(EVP_PKEY* key, std::string_view uri);

/// Errors: EMSGSIZE beyond kMaxCsr; EINVAL: not exactly one DER request, signature wrong (its sender does not hold the
/// key), key type not allowed, names other than exactly one URI, or that URI is no plain text.
Result<Csr> parse_csr(std::string_view der);

} // namespace weft::pki
