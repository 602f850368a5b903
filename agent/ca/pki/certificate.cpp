// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// X.509 by OpenSSL's calls. Extension texts handed to its configuration parser are constants or a trust domain, which
// holds no character that the parser gives a meaning to; names from elsewhere are built as objects.
#include "agent/ca/pki/certificate.hpp"

#include <algorithm>
#include <ctime>

#include <openssl/err.h>

#include "agent/ca/pki/names.hpp"
#include "weft/base/spiffe_id.hpp"

namespace weft::pki {
namespace {

// 20 octets are the most that RFC 5280 allows; 128 bits cannot be guessed and do not collide.
constexpr int kSerialBits = 128;

std::unexpected<Error> openssl_failure(std::string_view what) {
    return failure(EIO, "{}: {}", what, openssl_reason());
}

Result<> set_serial(X509* certificate) {
    const Owner<BIGNUM> number(BN_new());
    // The top bit is set, so that all serials have the same length.
    if (!number || BN_rand(number.get(), kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) != 1 ||
        BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate)) == nullptr) {
        return openssl_failure("serial number");
    }
    return {};
}

Result<> set_life(X509* certificate, const Validity& validity) {
    const auto from = std::chrono::system_clock::to_time_t(validity.from);
    const auto to = std::chrono::system_clock::to_time_t(validity.to);
    if (validity.to <= validity.from) {
        return invalid("a certificate from {} to {} would never count", time_text(validity.from),
                       time_text(validity.to));
    }
    if (ASN1_TIME_adj(X509_getm_notBefore(certificate), from, 0, 0) == nullptr ||
        ASN1_TIME_adj(X509_getm_notAfter(certificate), to, 0, 0) == nullptr) {
        return openssl_failure("validity");
    }
    return {};
}

Result<> extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    const Owner<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    if (!extension || X509_add_ext(certificate, extension.get(), -1) != 1) {
        return openssl_failure(fmt::format("extension {}", OBJ_nid2sn(nid)));
    }
    return {};
}

Result<> set_name(X509_NAME* name, std::string_view text) {
    if (X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()),
                                   -1, 0) != 1) {
        return openssl_failure("common name");
    }
    return {};
}

Result<OsslPtr<X509>> begin(EVP_PKEY* key, const Validity& validity) {
    OsslPtr<X509> certificate(X509_new());
    if (!certificate || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
        X509_set_pubkey(certificate.get(), key) != 1) {
        return openssl_failure("certificate");
    }
    WEFT_TRY(set_serial(certificate.get()));
    WEFT_TRY(set_life(certificate.get(), validity));
    return certificate;
}

Result<> sign(X509* certificate, EVP_PKEY* key) {
    if (X509_sign(certificate, key, EVP_sha256()) <= 0) {
        return openssl_failure("sign a certificate");
    }
    return {};
}

std::string usage_text(LeafKind kind) {
    switch (kind) {
    case LeafKind::kNode:
        return fmt::format("clientAuth,{}", kNodeUsage);
    case LeafKind::kServer:
        return "serverAuth";
    case LeafKind::kWorkload:
        break;
    }
    return "serverAuth,clientAuth";
}

Result<> add_name(GENERAL_NAMES* names, int type, std::string_view value) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    ASN1_IA5STRING* text = ASN1_IA5STRING_new();
    if (names == nullptr || name == nullptr || text == nullptr ||
        ASN1_STRING_set(text, value.data(), static_cast<int>(value.size())) != 1 ||
        sk_GENERAL_NAME_push(names, name) <= 0) {
        ASN1_IA5STRING_free(text);
        GENERAL_NAME_free(name);
        return failure(ENOMEM, "subject alternative name: out of memory");
    }
    GENERAL_NAME_set0_value(name, type, text);
    return {};
}

Result<Time> time_of(const ASN1_TIME* time) {
    std::tm parts{};
    if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
        return invalid("a time in the certificate cannot be read");
    }
    return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::from_time_t(::timegm(&parts)));
}

} // namespace

Result<OsslPtr<X509>> make_root(EVP_PKEY* key, std::string_view name, const Validity& validity) {
    WEFT_ASSIGN(auto root, begin(key, validity));
    X509* const x = root.get();
    WEFT_TRY(set_name(X509_get_subject_name(x), name));
    if (X509_set_issuer_name(x, X509_get_subject_name(x)) != 1) {
        return openssl_failure("issuer name");
    }
    WEFT_TRY(extend(x, x, NID_basic_constraints, "critical,CA:TRUE"));
    WEFT_TRY(extend(x, x, NID_key_usage, "critical,keyCertSign,cRLSign"));
    WEFT_TRY(extend(x, x, NID_subject_key_identifier, "hash"));
    WEFT_TRY(sign(x, key));
    return root;
}

Result<OsslPtr<X509>> make_intermediate(EVP_PKEY* key, std::string_view name, std::string_view trust_domain,
                                        const Validity& validity, const Signer& root) {
    WEFT_TRY(check_trust_domain(trust_domain));
    WEFT_ASSIGN(const auto limit, validity_of(root.certificate));
    WEFT_ASSIGN(auto made, begin(key, {validity.from, std::min(validity.to, limit.to)}));
    X509* const x = made.get();
    WEFT_TRY(set_name(X509_get_subject_name(x), name));
    if (X509_set_issuer_name(x, X509_get_subject_name(root.certificate)) != 1) {
        return openssl_failure("issuer name");
    }
    WEFT_TRY(extend(x, root.certificate, NID_basic_constraints, "critical,CA:TRUE,pathlen:0"));
    WEFT_TRY(extend(x, root.certificate, NID_key_usage, "critical,keyCertSign,cRLSign"));
    WEFT_TRY(extend(x, root.certificate, NID_name_constraints, fmt::format("critical,permitted;URI:{}", trust_domain)));
    WEFT_TRY(extend(x, root.certificate, NID_subject_key_identifier, "hash"));
    WEFT_TRY(extend(x, root.certificate, NID_authority_key_identifier, "keyid"));
    WEFT_TRY(sign(x, root.key));
    return made;
}

Result<OsslPtr<X509>> make_leaf(LeafKind kind, EVP_PKEY* key, std::string_view uri, const Validity& validity,
                                const Signer& signer) {
    WEFT_ASSIGN(const auto limit, validity_of(signer.certificate));
    WEFT_ASSIGN(auto leaf, begin(key, {validity.from, std::min(validity.to, limit.to)}));
    X509* const x = leaf.get();
    if (X509_set_issuer_name(x, X509_get_subject_name(signer.certificate)) != 1) {
        return openssl_failure("issuer name");
    }
    WEFT_TRY(extend(x, signer.certificate, NID_basic_constraints, "critical,CA:FALSE"));
    WEFT_TRY(extend(x, signer.certificate, NID_key_usage, "critical,digitalSignature"));
    WEFT_TRY(extend(x, signer.certificate, NID_ext_key_usage, usage_text(kind)));
    WEFT_ASSIGN(const auto names, names_extension(uri, kind == LeafKind::kServer ? kServerName : ""));
    if (X509_add_ext(x, names.get(), -1) != 1) {
        return openssl_failure("subject alternative name");
    }
    WEFT_TRY(extend(x, signer.certificate, NID_subject_key_identifier, "hash"));
    WEFT_TRY(extend(x, signer.certificate, NID_authority_key_identifier, "keyid"));
    WEFT_TRY(sign(x, signer.key));
    return leaf;
}

Result<Owner<X509_EXTENSION>> names_extension(std::string_view uri, std::string_view dns) {
    const Owner<GENERAL_NAMES> names(sk_GENERAL_NAME_new_null());
    WEFT_TRY(add_name(names.get(), GEN_URI, uri));
    if (!dns.empty()) {
        WEFT_TRY(add_name(names.get(), GEN_DNS, dns));
    }
    Owner<X509_EXTENSION> extension(X509V3_EXT_i2d(NID_subject_alt_name, 1, names.get()));
    if (!extension) {
        return openssl_failure("subject alternative name");
    }
    return extension;
}

Result<Validity> validity_of(const X509* certificate) {
    WEFT_ASSIGN(const auto from, time_of(X509_get0_notBefore(certificate)));
    WEFT_ASSIGN(const auto to, time_of(X509_get0_notAfter(certificate)));
    return Validity{from, to};
}

std::vector<std::string> uris_of(const X509* certificate) {
    int critical = 0;
    const Owner<GENERAL_NAMES> names(
        static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, &critical, nullptr)));
    ERR_clear_error();
    std::vector<std::string> uris;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
        const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
        if (name->type == GEN_URI) {
            const auto* text = name->d.uniformResourceIdentifier;
            uris.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                              static_cast<std::size_t>(ASN1_STRING_length(text)));
        }
    }
    return uris;
}

bool has_usage(X509* certificate, const char* usage) {
    const Owner<EXTENDED_KEY_USAGE> all(
        static_cast<EXTENDED_KEY_USAGE*>(X509_get_ext_d2i(certificate, NID_ext_key_usage, nullptr, nullptr)));
    const Owner<ASN1_OBJECT> wanted(OBJ_txt2obj(usage, 0));
    ERR_clear_error();
    for (int i = 0; all && wanted && i < sk_ASN1_OBJECT_num(all.get()); ++i) {
        if (OBJ_cmp(sk_ASN1_OBJECT_value(all.get(), i), wanted.get()) == 0) {
            return true;
        }
    }
    return false;
}

std::string time_text(Time time) {
    const auto seconds = std::chrono::system_clock::to_time_t(time);
    std::tm parts{};
    ::gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                       parts.tm_hour, parts.tm_min, parts.tm_sec);
}

} // namespace weft::pki
