// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Certificates by OpenSSL's X.509 calls.
#include "tests/net/ktls/pki.hpp"

#include <atomic>

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

namespace weft::ktls::test {
namespace {

OsslPtr<EVP_PKEY> new_key(int rsa_bits) {
    return OsslPtr<EVP_PKEY>(rsa_bits == 0 ? EVP_EC_gen("P-256") : EVP_RSA_gen(static_cast<unsigned int>(rsa_bits)));
}

void extend(X509* certificate, X509* issuer, int nid, const std::string& value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str());
    ASSERT_NE(extension, nullptr) << value;
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

OsslPtr<X509> new_certificate(EVP_PKEY* key, const char* name, long from, long to) {
    static std::atomic<long> serial = 1000;
    OsslPtr<X509> certificate(X509_new());
    X509_set_version(certificate.get(), 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), serial.fetch_add(1));
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), from);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), to);
    X509_set_pubkey(certificate.get(), key);
    if (name != nullptr) {
        X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "CN", MBSTRING_ASC,
                                   reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
    }
    return certificate;
}

} // namespace

Authority::Authority(bool with_intermediate) : root_key_(new_key(0)) {
    root_ = new_certificate(root_key_.get(), "test root", -3600, kRootSeconds);
    X509_set_issuer_name(root_.get(), X509_get_subject_name(root_.get()));
    extend(root_.get(), root_.get(), NID_basic_constraints, "critical,CA:TRUE");
    extend(root_.get(), root_.get(), NID_key_usage, "critical,keyCertSign,cRLSign");
    // Roots have the same name here, as after a rotation: the key identifiers tell them apart.
    extend(root_.get(), root_.get(), NID_subject_key_identifier, "hash");
    X509_sign(root_.get(), root_key_.get(), EVP_sha256());
    if (with_intermediate) {
        make_intermediate(kRootSeconds - 60);
    }
}

void Authority::make_intermediate(long ends_in_seconds) {
    intermediate_key_ = new_key(0);
    intermediate_ = new_certificate(intermediate_key_.get(), "test intermediate", -3600, ends_in_seconds);
    X509_set_issuer_name(intermediate_.get(), X509_get_subject_name(root_.get()));
    extend(intermediate_.get(), root_.get(), NID_basic_constraints, "critical,CA:TRUE,pathlen:0");
    extend(intermediate_.get(), root_.get(), NID_key_usage, "critical,keyCertSign");
    extend(intermediate_.get(), root_.get(), NID_subject_key_identifier, "hash");
    extend(intermediate_.get(), root_.get(), NID_authority_key_identifier, "keyid:always");
    extend(intermediate_.get(), root_.get(), NID_name_constraints, "critical,permitted;URI:cluster.local");
    X509_sign(intermediate_.get(), root_key_.get(), EVP_sha256());
}

Authority Authority::sibling(long ends_in_seconds) const {
    Authority other;
    EVP_PKEY_up_ref(root_key_.get());
    other.root_key_.reset(root_key_.get());
    other.root_ = share(root_.get());
    other.make_intermediate(ends_in_seconds);
    return other;
}

Leaf Authority::issue(const LeafOptions& options) const {
    X509* issuer = intermediate_ ? intermediate_.get() : root_.get();
    EVP_PKEY* issuer_key = intermediate_ ? intermediate_key_.get() : root_key_.get();
    Leaf leaf{new_key(options.rsa_bits), nullptr};
    leaf.certificate = new_certificate(leaf.key.get(), nullptr, options.starts_in_seconds, options.ends_in_seconds);
    X509* x = leaf.certificate.get();
    X509_set_issuer_name(x, X509_get_subject_name(issuer));
    extend(x, issuer, NID_basic_constraints, options.is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
    extend(x, issuer, NID_key_usage, options.is_ca ? "critical,keyCertSign" : "critical,digitalSignature");
    extend(x, issuer, NID_authority_key_identifier, "keyid:always");
    if (!options.extended_key_usage.empty()) {
        extend(x, issuer, NID_ext_key_usage, options.extended_key_usage);
    }
    std::string names;
    for (const auto& uri : options.uris) {
        names += (names.empty() ? "URI:" : ",URI:") + uri;
    }
    if (!names.empty()) {
        extend(x, issuer, NID_subject_alt_name, "critical," + names);
    }
    X509_sign(x, issuer_key, EVP_sha256());
    return leaf;
}

Credentials Authority::credentials(const LeafOptions& options, const std::string& trust_domain) const {
    auto leaf = issue(options);
    Credentials credentials;
    credentials.key = std::move(leaf.key);
    credentials.chain.push_back(std::move(leaf.certificate));
    if (intermediate_) {
        credentials.chain.push_back(share(intermediate_.get()));
    }
    credentials.roots[trust_domain].push_back(share(root_.get()));
    return credentials;
}

std::shared_ptr<const Context> Authority::context(const LeafOptions& options,
                                                  const ContextOptions& context_options) const {
    auto made = Context::create(credentials(options), context_options);
    EXPECT_TRUE(made.has_value()) << (made ? "" : made.error().message());
    return made ? *made : nullptr;
}

std::string pem_of(X509* certificate) {
    const OsslPtr<BIO> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

std::string pem_of(EVP_PKEY* key) {
    const OsslPtr<BIO> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return {data, static_cast<std::size_t>(size)};
}

LeafOptions leaf_of(const std::string& service_account) {
    LeafOptions options;
    options.uris = {"spiffe://cluster.local/ns/shop/sa/" + service_account};
    return options;
}

} // namespace weft::ktls::test
