// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// PKCS#10 by OpenSSL, with the checks that its parser leaves to the caller.
#include "agent/ca/pki/csr.hpp"

#include <algorithm>

#include <openssl/err.h>

#include "agent/ca/pki/certificate.hpp"
#include "agent/ca/pki/key.hpp"

namespace weft::pki {
namespace {

Result<std::string> only_uri(X509_REQ* request) {
    const Owner<STACK_OF(X509_EXTENSION)> extensions(X509_REQ_get_extensions(request));
    if (!extensions) {
        ERR_clear_error();
        return invalid("the request names nobody: it needs one URI as subject alternative name");
    }
    int critical = 0;
    // Null also when the extension stands there twice (critical is -2 then) or cannot be read.
    const Owner<GENERAL_NAMES> names(
        static_cast<GENERAL_NAMES*>(X509V3_get_d2i(extensions.get(), NID_subject_alt_name, &critical, nullptr)));
    ERR_clear_error();
    if (!names) {
        return invalid("the request has {} readable subject alternative names: it needs one URI",
                       critical == -2 ? "two" : "no");
    }
    if (sk_GENERAL_NAME_num(names.get()) != 1) {
        return invalid("the request has {} names: exactly one URI is allowed", sk_GENERAL_NAME_num(names.get()));
    }
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), 0);
    if (name->type != GEN_URI) {
        return invalid("the request's name is no URI");
    }
    const auto* text = name->d.uniformResourceIdentifier;
    std::string uri(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                    static_cast<std::size_t>(ASN1_STRING_length(text)));
    // The text goes into logs: a zero byte or a line end must not.
    if (!std::ranges::all_of(uri, [](unsigned char c) { return c > 0x20 && c < 0x7f; })) {
        return invalid("the request's URI holds bytes that no SPIFFE ID may have");
    }
    return uri;
}

} // namespace

Result<std::string> make_csr(EVP_PKEY* key, std::string_view uri) {
    const Owner<X509_REQ> request(X509_REQ_new());
    WEFT_ASSIGN(auto names, names_extension(uri));
    Owner<STACK_OF(X509_EXTENSION)> extensions(sk_X509_EXTENSION_new_null());
    if (!request || !extensions || sk_X509_EXTENSION_push(extensions.get(), names.get()) <= 0) {
        return failure(ENOMEM, "certificate request: out of memory");
    }
    (void)names.release(); // the list frees it
    if (X509_REQ_set_version(request.get(), 0) != 1 || X509_REQ_set_pubkey(request.get(), key) != 1 ||
        X509_REQ_add_extensions(request.get(), extensions.get()) != 1 ||
        X509_REQ_sign(request.get(), key, EVP_sha256()) <= 0) {
        return failure(EIO, "certificate request: {}", openssl_reason());
    }
    unsigned char* der = nullptr;
    const int size = i2d_X509_REQ(request.get(), &der);
    if (size <= 0) {
        return failure(EIO, "certificate request: {}", openssl_reason());
    }
    std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    return bytes;
}

Result<Csr> parse_csr(std::string_view der) {
    if (der.size() > kMaxCsr) {
        return failure(EMSGSIZE, "the request has {} bytes: at most {} are allowed", der.size(), kMaxCsr);
    }
    const auto* at = reinterpret_cast<const unsigned char*>(der.data());
    const auto* const end = at + der.size();
    const Owner<X509_REQ> request(d2i_X509_REQ(nullptr, &at, static_cast<long>(der.size())));
    if (!request) {
        return invalid("no PKCS#10 request in DER: {}", openssl_reason());
    }
    if (at != end) {
        return invalid("{} bytes follow the request", end - at);
    }
    OsslPtr<EVP_PKEY> key(X509_REQ_get_pubkey(request.get()));
    if (!key) {
        return invalid("the request's public key cannot be read: {}", openssl_reason());
    }
    // The type first: checking a signature by a huge RSA key would be work for nothing.
    WEFT_TRY(check_key_type(key.get()));
    if (X509_REQ_verify(request.get(), key.get()) != 1) {
        return invalid("the request's signature is wrong: {}", openssl_reason());
    }
    WEFT_ASSIGN(auto uri, only_uri(request.get()));
    ERR_clear_error();
    return Csr{std::move(uri), std::move(key)};
}

} // namespace weft::pki
