// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Owners of OpenSSL objects: OsslPtr<X509> frees what it holds, share() adds a reference.
#pragma once

#include <memory>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

namespace weft::ktls {

struct OsslDelete {
    void operator()(BIO* p) const noexcept { BIO_free_all(p); }
    void operator()(EVP_PKEY* p) const noexcept { EVP_PKEY_free(p); }
    void operator()(SSL* p) const noexcept { SSL_free(p); }
    void operator()(SSL_CTX* p) const noexcept { SSL_CTX_free(p); }
    void operator()(SSL_SESSION* p) const noexcept { SSL_SESSION_free(p); }
    void operator()(X509* p) const noexcept { X509_free(p); }
    void operator()(X509_STORE* p) const noexcept { X509_STORE_free(p); }
    void operator()(X509_STORE_CTX* p) const noexcept { X509_STORE_CTX_free(p); }
};

/// The only owner of one reference.
template <typename T>
using OsslPtr = std::unique_ptr<T, OsslDelete>;

/// A further reference to a certificate.
inline OsslPtr<X509> share(X509* certificate) {
    if (certificate != nullptr) {
        X509_up_ref(certificate);
    }
    return OsslPtr<X509>(certificate);
}

/// A further reference to a key.
inline OsslPtr<EVP_PKEY> share(EVP_PKEY* key) {
    if (key != nullptr) {
        EVP_PKEY_up_ref(key);
    }
    return OsslPtr<EVP_PKEY>(key);
}

} // namespace weft::ktls
