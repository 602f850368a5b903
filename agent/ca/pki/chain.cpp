// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// X509_verify_cert with strict settings.
#include "agent/ca/pki/chain.hpp"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

namespace weft::pki {
namespace {

constexpr int kSecurityLevel = 2; // 112 bits: as in handshakes

} // namespace

Result<> verify_chain(Certificates chain, Certificates roots, Purpose purpose, std::optional<Time> at,
                      Certificates extra) {
    if (chain.empty()) {
        return failure(EKEYREJECTED, "there is no certificate");
    }
    const OsslPtr<X509_STORE> store(X509_STORE_new());
    const OsslPtr<X509_STORE_CTX> context(X509_STORE_CTX_new());
    const Owner<STACK_OF(X509)> untrusted(sk_X509_new_null());
    if (!store || !context || !untrusted) {
        return failure(ENOMEM, "certificate chain: out of memory");
    }
    for (const auto& root : roots) {
        X509_STORE_add_cert(store.get(), root.get()); // a root that stands there twice is no fault
    }
    for (const auto& one : chain.subspan(1)) {
        sk_X509_push(untrusted.get(), one.get());
    }
    for (const auto& one : extra) {
        sk_X509_push(untrusted.get(), one.get());
    }
    if (X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(), untrusted.get()) != 1) {
        return failure(ENOMEM, "certificate chain: {}", openssl_reason());
    }
    auto* parameters = X509_STORE_CTX_get0_param(context.get());
    X509_VERIFY_PARAM_set_auth_level(parameters, kSecurityLevel);
    if (purpose != Purpose::kAny) {
        X509_STORE_CTX_set_purpose(context.get(),
                                   purpose == Purpose::kClient ? X509_PURPOSE_SSL_CLIENT : X509_PURPOSE_SSL_SERVER);
    }
    if (at) {
        X509_VERIFY_PARAM_set_time(parameters, std::chrono::system_clock::to_time_t(*at));
    } else {
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_NO_CHECK_TIME);
    }
    const int valid = X509_verify_cert(context.get());
    const int error = X509_STORE_CTX_get_error(context.get());
    ERR_clear_error(); // what is in the queue is repeated in `error`
    if (valid == 1 && error == X509_V_OK) {
        return {};
    }
    const bool dates = error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
    return failure(dates ? EKEYEXPIRED : EKEYREJECTED, "certificate {} of the chain: {}",
                   X509_STORE_CTX_get_error_depth(context.get()), X509_verify_cert_error_string(error));
}

} // namespace weft::pki
