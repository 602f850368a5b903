// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Certificates as bytes: DER one by one, DER in a row, PEM.
#include <openssl/err.h>
#include <openssl/pem.h>

#include "agent/ca/pki/certificate.hpp"
#include "agent/ca/pki/key.hpp"

namespace weft::pki {

Result<std::string> fingerprint_of(const X509* certificate) {
    WEFT_ASSIGN(const auto der, der_of(certificate));
    return sha256_hex(der);
}

Result<std::string> der_of(const X509* certificate) {
    unsigned char* der = nullptr;
    const int size = i2d_X509(certificate, &der);
    if (size <= 0) {
        return failure(EIO, "encode a certificate: {}", openssl_reason());
    }
    std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    return bytes;
}

Result<std::vector<OsslPtr<X509>>> certificates_from_der(std::string_view der) {
    std::vector<OsslPtr<X509>> certificates;
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const auto* const end = at + der.size();
    while (at != end) {
        OsslPtr<X509> one(d2i_X509(nullptr, &at, end - at));
        if (!one) {
            return invalid("certificate {} in DER: {}", certificates.size() + 1, openssl_reason());
        }
        certificates.push_back(std::move(one));
    }
    if (certificates.empty()) {
        return invalid("no certificate in DER");
    }
    return certificates;
}

Result<OsslPtr<X509>> certificate_from_der(std::string_view der) {
    WEFT_ASSIGN(auto all, certificates_from_der(der));
    if (all.size() != 1) {
        return invalid("{} certificates in DER where one belongs", all.size());
    }
    return std::move(all.front());
}

Result<std::string> pem_of(const X509* certificate) {
    const OsslPtr<BIO> bio(BIO_new(BIO_s_mem()));
    if (!bio || PEM_write_bio_X509(bio.get(), certificate) != 1) {
        return failure(EIO, "write a certificate: {}", openssl_reason());
    }
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<std::size_t>(size));
}

} // namespace weft::pki
