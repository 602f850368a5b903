// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Private keys: made, written as PEM, and read back; and the bytes that hashes and tokens are made of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/ca/pki/openssl_owner.hpp"
#include "weft/base/result.hpp"

namespace weft::pki {

/// A new ECDSA P-256 key. Error: EIO when OpenSSL has no randomness.
Result<OsslPtr<EVP_PKEY>> new_key();
/// PKCS#8 as PEM, without a passphrase.
Result<std::string> pem_of(EVP_PKEY* key);
/// SHA-256 of the public key (SubjectPublicKeyInfo), lower case hex.
Result<std::string> public_key_hash(EVP_PKEY* key);
/// Whether a key may be certified: ECDSA on P-256 or P-384. Error: EINVAL naming what it is.
Result<> check_key_type(EVP_PKEY* key);

/// SHA-256, lower case hex.
std::string sha256_hex(std::string_view bytes);
/// `size` random bytes as lower case hex. Error: EIO.
Result<std::string> random_hex(std::size_t size);

} // namespace weft::pki
