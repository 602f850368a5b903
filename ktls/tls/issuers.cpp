// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Proves the own chain once, and looks at what the certificates above the intermediate would forbid.
#include "ktls/tls/issuers.hpp"

#include <algorithm>

#include <openssl/err.h>
#include <openssl/x509v3.h>

namespace weft::ktls {
namespace {

struct StackDelete {
    void operator()(STACK_OF(X509) * p) const noexcept { sk_X509_free(p); }
};

// Whether a chain that ends at `issuer`, `distance` below `upper`, is held to all that `upper` demands: its end, its
// names, its length.
bool covers(const X509* issuer, X509* upper, long distance) {
    const long allowed = X509_get_pathlen(upper); // -1: any
    const long own = X509_get_pathlen(const_cast<X509*>(issuer));
    return X509_get_ext_by_NID(upper, NID_name_constraints, -1) < 0 &&
           ASN1_TIME_compare(X509_get0_notAfter(upper), X509_get0_notAfter(issuer)) >= 0 &&
           (allowed < 0 || (own >= 0 && own + distance <= allowed));
}

} // namespace

std::optional<IssuerName> adopt_issuer(X509_STORE* store, const Credentials& credentials) {
    if (credentials.chain.size() != 2) {
        return std::nullopt; // none, or more of them than a peer can be asked about
    }
    X509* const issuer = credentials.chain[1].get();
    const std::unique_ptr<STACK_OF(X509), StackDelete> untrusted(sk_X509_new_null());
    const OsslPtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
    bool proven = untrusted && context && sk_X509_push(untrusted.get(), issuer) > 0 &&
                  X509_STORE_CTX_init(context.get(), store, credentials.chain[0].get(), untrusted.get()) == 1 &&
                  X509_verify_cert(context.get()) == 1;
    const auto* const chain = proven ? X509_STORE_CTX_get0_chain(context.get()) : nullptr;
    const int length = chain == nullptr ? 0 : sk_X509_num(chain);
    proven = length >= 2 && X509_cmp(sk_X509_value(chain, 1), issuer) == 0;
    for (int i = 2; i < length && proven; ++i) {
        proven = covers(issuer, sk_X509_value(chain, i), i - 1);
    }
    std::array<std::uint8_t, EVP_MAX_MD_SIZE> digest{};
    IssuerName name{};
    const bool adopted = proven && X509_digest(issuer, EVP_sha256(), digest.data(), nullptr) == 1 &&
                         X509_STORE_add_cert(store, issuer) == 1;
    ERR_clear_error();
    if (!adopted) {
        return std::nullopt;
    }
    std::copy_n(digest.begin(), name.size(), name.begin());
    return name;
}

} // namespace weft::ktls
