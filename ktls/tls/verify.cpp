// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Identity first, as its trust domain says which roots count; then the chain against only those; then the caller's
// word.
#include "ktls/tls/verify.hpp"

#include <openssl/asn1.h>
#include <openssl/err.h>

namespace weft::ktls {
namespace {

Failure classify(int error) {
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return Failure::kExpired;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return Failure::kNotYetValid;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
    case X509_V_ERR_CERT_UNTRUSTED:
        return Failure::kUnknownCa;
    default:
        return Failure::kBadCertificate;
    }
}

Verdict refuse(Verdict verdict, Failure failure, int x509_error, std::string detail) {
    verdict.failure = failure;
    verdict.x509_error = x509_error;
    verdict.detail = std::move(detail);
    return verdict;
}

Result<Peer> peer_of(const X509* leaf) {
    WEFT_ASSIGN(auto id, spiffe_id_of(leaf));
    std::tm until{};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &until) != 1) {
        return invalid("the certificate's end date cannot be read");
    }
    return Peer{std::move(id), serial_of(leaf), ::timegm(&until)};
}

Verdict ask(Verdict verdict, const Authorise& authorise) {
    if (authorise) {
        if (auto allowed = authorise(*verdict.peer); !allowed) {
            return refuse(verdict, Failure::kIdentityRefused, X509_V_ERR_APPLICATION_VERIFICATION,
                          allowed.error().message());
        }
    }
    return verdict;
}

} // namespace

Verdict verify_peer(const TrustStores& stores, X509* leaf, STACK_OF(X509) * untrusted, const char* purpose,
                    const Authorise& authorise) {
    Verdict verdict;
    auto peer = peer_of(leaf);
    if (!peer) {
        return refuse(verdict, Failure::kBadIdentity, X509_V_ERR_APPLICATION_VERIFICATION, peer.error().message());
    }
    verdict.peer = *peer;
    const auto store = stores.find(peer->id.trust_domain);
    if (store == stores.end()) {
        return refuse(verdict, Failure::kWrongTrustDomain, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT,
                      fmt::format("no trust bundle for '{}'", peer->id.trust_domain));
    }
    const OsslPtr<X509_STORE_CTX> chain(X509_STORE_CTX_new());
    if (!chain || X509_STORE_CTX_init(chain.get(), store->second.get(), leaf, untrusted) != 1 ||
        X509_STORE_CTX_set_default(chain.get(), purpose) != 1) {
        return refuse(verdict, Failure::kInternal, X509_V_ERR_OUT_OF_MEM, "out of memory");
    }
    const int valid = X509_verify_cert(chain.get());
    const int error = X509_STORE_CTX_get_error(chain.get());
    const int depth = X509_STORE_CTX_get_error_depth(chain.get());
    ERR_clear_error(); // what is in the queue is repeated in `error`
    if (valid != 1 || error != X509_V_OK) {
        const int known = error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error;
        return refuse(verdict, classify(known), known,
                      fmt::format("certificate {} of the chain: {}", depth, X509_verify_cert_error_string(known)));
    }
    return ask(std::move(verdict), authorise);
}

Verdict verify_again(X509* leaf, const Authorise& authorise) {
    Verdict verdict;
    auto peer = peer_of(leaf);
    if (!peer) {
        return refuse(verdict, Failure::kBadIdentity, X509_V_ERR_APPLICATION_VERIFICATION, peer.error().message());
    }
    verdict.peer = std::move(*peer);
    if (X509_cmp_current_time(X509_get0_notAfter(leaf)) <= 0) {
        return refuse(verdict, Failure::kExpired, X509_V_ERR_CERT_HAS_EXPIRED, "it expired since the session was made");
    }
    if (X509_cmp_current_time(X509_get0_notBefore(leaf)) > 0) {
        return refuse(verdict, Failure::kNotYetValid, X509_V_ERR_CERT_NOT_YET_VALID, "a clock was put back since");
    }
    return ask(std::move(verdict), authorise);
}

} // namespace weft::ktls
