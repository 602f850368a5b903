// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// PEM to objects, and the identity that a certificate carries.
#include "weft/ktls/credentials.hpp"

#include <climits>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "ktls/tls/openssl_error.hpp"

namespace weft::ktls {
namespace {

Result<OsslPtr<BIO>> memory(std::string_view text) {
    if (text.size() > INT_MAX) {
        return invalid("PEM of {} bytes is too long", text.size());
    }
    OsslPtr<BIO> bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
    if (!bio) {
        return failure(ENOMEM, "PEM: out of memory");
    }
    return bio;
}

// Without a terminal to ask on, an encrypted key is an error and not a prompt.
int no_passphrase(char*, int, int, void*) {
    return -1;
}

struct NamesDelete {
    void operator()(GENERAL_NAMES* p) const noexcept { GENERAL_NAMES_free(p); }
};

} // namespace

Result<std::vector<OsslPtr<X509>>> certificates_from_pem(std::string_view pem) {
    WEFT_ASSIGN(const auto bio, memory(pem));
    std::vector<OsslPtr<X509>> certificates;
    while (true) {
        OsslPtr<X509> certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
        if (!certificate) {
            break;
        }
        certificates.push_back(std::move(certificate));
    }
    const auto code = ERR_peek_last_error();
    const bool at_end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    const auto text = take_openssl_error();
    if (!at_end) {
        return invalid("certificate {} of the PEM text: {}", certificates.size() + 1, text);
    }
    if (certificates.empty()) {
        return invalid("there is no certificate in the PEM text");
    }
    return certificates;
}

Result<OsslPtr<EVP_PKEY>> key_from_pem(std::string_view pem) {
    WEFT_ASSIGN(const auto bio, memory(pem));
    OsslPtr<EVP_PKEY> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, no_passphrase, nullptr));
    const auto text = take_openssl_error();
    if (!key) {
        return invalid("private key: {}", text);
    }
    return key;
}

Result<SpiffeId> spiffe_id_of(const X509* leaf) {
    // X509_get_extension_flags caches in the object, so it wants a non-const one; it is safe for threads.
    if ((X509_get_extension_flags(const_cast<X509*>(leaf)) & EXFLAG_CA) != 0) {
        return invalid("the certificate is a CA's, not a workload's");
    }
    int critical = 0;
    const std::unique_ptr<GENERAL_NAMES, NamesDelete> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(leaf, NID_subject_alt_name, &critical, nullptr)));
    ERR_clear_error();
    const GENERAL_NAME* uri = nullptr;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type != GEN_URI) {
            continue;
        }
        if (uri != nullptr) {
            return invalid("the certificate holds more than one URI");
        }
        uri = name;
    }
    if (uri == nullptr) {
        return invalid("the certificate holds no URI");
    }
    const auto* text = uri->d.uniformResourceIdentifier;
    return SpiffeId::parse({reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                            static_cast<std::size_t>(ASN1_STRING_length(text))});
}

std::string serial_of(const X509* certificate) {
    BIGNUM* number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr);
    char* hex = number == nullptr ? nullptr : BN_bn2hex(number);
    std::string text = hex == nullptr ? "" : hex;
    OPENSSL_free(hex);
    BN_free(number);
    return text;
}

} // namespace weft::ktls
