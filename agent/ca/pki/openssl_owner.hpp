// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Owners of the OpenSSL objects that only a certificate authority and its clients touch, beside those of the TLS
// library.
#pragma once

#include <memory>

#include <openssl/bn.h>
#include <openssl/x509v3.h>

#include "weft/ktls/openssl_ptr.hpp"

namespace weft::pki {

using ktls::OsslPtr;

struct Delete {
    void operator()(X509_REQ* p) const noexcept { X509_REQ_free(p); }
    void operator()(X509_EXTENSION* p) const noexcept { X509_EXTENSION_free(p); }
    void operator()(STACK_OF(X509_EXTENSION) * p) const noexcept { sk_X509_EXTENSION_pop_free(p, X509_EXTENSION_free); }
    void operator()(STACK_OF(X509) * p) const noexcept { sk_X509_free(p); } // borrows what it lists
    void operator()(GENERAL_NAMES* p) const noexcept { GENERAL_NAMES_free(p); }
    void operator()(EXTENDED_KEY_USAGE* p) const noexcept { EXTENDED_KEY_USAGE_free(p); }
    void operator()(ASN1_OBJECT* p) const noexcept { ASN1_OBJECT_free(p); }
    void operator()(BIGNUM* p) const noexcept { BN_free(p); }
};

/// The only owner of one object.
template <typename T>
using Owner = std::unique_ptr<T, Delete>;

/// The oldest error in this thread's OpenSSL queue as text, the queue is empty afterwards; "unknown" when there was
/// none.
std::string openssl_reason();

} // namespace weft::pki
