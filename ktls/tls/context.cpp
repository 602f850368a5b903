// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Turns credentials into the two SSL_CTX that handshakes start from.
#include "weft/ktls/context.hpp"

#include <array>
#include <vector>

#include <openssl/err.h>

#include "ktls/tls/context_impl.hpp"
#include "ktls/tls/handshake_impl.hpp"
#include "ktls/tls/openssl_error.hpp"

namespace weft::ktls {
namespace {

constexpr int kSecurityLevel = 2;
constexpr int kDeepestChain = 6;
constexpr long kLargestCertificateList = 64 * 1024;
constexpr std::string_view kSessionContext = "weft/1";

std::unexpected<Error> openssl_failure(std::string_view what) {
    return invalid("{}: {}", what, take_openssl_error());
}

Result<TrustStores> make_stores(const TrustBundles& bundles) {
    TrustStores stores;
    for (const auto& [domain, roots] : bundles) {
        WEFT_TRY(check_trust_domain(domain));
        if (roots.empty()) {
            return invalid("trust bundle of '{}' is empty", domain);
        }
        OsslPtr<X509_STORE> store(X509_STORE_new());
        if (!store) {
            return failure(ENOMEM, "trust bundle: out of memory");
        }
        for (const auto& root : roots) {
            if (X509_STORE_add_cert(store.get(), root.get()) != 1) {
                return openssl_failure(fmt::format("trust bundle of '{}'", domain));
            }
        }
        X509_VERIFY_PARAM* parameters = X509_STORE_get0_param(store.get());
        X509_VERIFY_PARAM_set_auth_level(parameters, kSecurityLevel);
        X509_VERIFY_PARAM_set_depth(parameters, kDeepestChain);
        // What stands in a bundle is trusted as it is, also an intermediate.
        X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_PARTIAL_CHAIN);
        stores.emplace(domain, std::move(store));
    }
    return stores;
}

std::string cipher_list(const std::vector<Cipher>& ciphers) {
    std::string list;
    for (const auto cipher : ciphers) {
        list += fmt::format("{}{}", list.empty() ? "" : ":", cipher_name(cipher));
    }
    return list;
}

// One protocol as ALPN writes it: a length and the name.
void add_protocol(std::vector<unsigned char>& list, std::string_view name) {
    list.push_back(static_cast<unsigned char>(name.size()));
    list.insert(list.end(), name.begin(), name.end());
}

Result<> use_credentials(SSL_CTX* context, const Credentials& credentials) {
    if (SSL_CTX_use_certificate(context, credentials.chain.front().get()) != 1) {
        return openssl_failure("certificate");
    }
    for (std::size_t i = 1; i < credentials.chain.size(); ++i) {
        if (SSL_CTX_add1_chain_cert(context, credentials.chain[i].get()) != 1) {
            return openssl_failure("intermediate certificate");
        }
    }
    if (SSL_CTX_use_PrivateKey(context, credentials.key.get()) != 1 || SSL_CTX_check_private_key(context) != 1) {
        return openssl_failure("private key");
    }
    return {};
}

Result<OsslPtr<SSL_CTX>> make_context(bool client, const Credentials& credentials, const ContextOptions& options) {
    OsslPtr<SSL_CTX> context(SSL_CTX_new(client ? TLS_client_method() : TLS_server_method()));
    if (!context) {
        return openssl_failure("TLS context");
    }
    SSL_CTX* const c = context.get();
    SSL_CTX_set_security_level(c, kSecurityLevel);
    if (SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(c, cipher_list(options.ciphers).c_str()) != 1) {
        return openssl_failure("TLS 1.3 and its ciphers");
    }
    // Hybrid post-quantum groups where OpenSSL has them (3.5 and later).
    if (SSL_CTX_set1_groups_list(c, "X25519MLKEM768:X25519:P-256") != 1 &&
        SSL_CTX_set1_groups_list(c, "X25519:P-256") != 1) {
        return openssl_failure("key exchange groups");
    }
    ERR_clear_error();
    SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    // No middle box sees our records as anything but TLS 1.2 would look; the dummy records only cost.
    SSL_CTX_clear_options(c, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
    // A record at a time, so that what follows the handshake stays in the socket for the kernel to decrypt; and control
    // comes back after each ticket instead of going on into application data.
    SSL_CTX_set_read_ahead(c, 0);
    SSL_CTX_clear_mode(c, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_mode(c, SSL_MODE_NO_AUTO_CHAIN); // what is sent is what the credentials hold, or less
    SSL_CTX_set_max_cert_list(c, kLargestCertificateList);
    SSL_CTX_set_timeout(c, options.ticket_seconds);
    if (SSL_CTX_set_session_id_context(c, reinterpret_cast<const unsigned char*>(kSessionContext.data()),
                                       static_cast<unsigned int>(kSessionContext.size())) != 1) {
        return openssl_failure("session context");
    }
    if (client) {
        std::vector<unsigned char> protocols;
        if (options.rekey) {
            add_protocol(protocols, kAlpnRekey);
        }
        add_protocol(protocols, kAlpn);
        if (SSL_CTX_set_alpn_protos(c, protocols.data(), static_cast<unsigned int>(protocols.size())) != 0) {
            return openssl_failure("ALPN");
        }
        SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER, nullptr);
    } else {
        // A ticket is only a name: OpenSSL 3.0 spends more on reading the peer's certificate out of one that holds the
        // state than on all the rest of a resumed handshake but its keys.
        SSL_CTX_set_options(c, SSL_OP_NO_TICKET);
        SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_SERVER | SSL_SESS_CACHE_NO_INTERNAL);
        // weft/1: exactly one ticket, right after the server has seen the client's Finished.
        if (SSL_CTX_set_num_tickets(c, 1) != 1) {
            return openssl_failure("session tickets");
        }
        SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
    WEFT_TRY(use_credentials(c, credentials));
    if (!Handshake::Impl::hook(c, client)) {
        return openssl_failure("TLS extensions");
    }
    return context;
}

} // namespace

Context::Context(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Context::~Context() = default;

Result<std::shared_ptr<const Context>> Context::create(const Credentials& credentials, const ContextOptions& options) {
    ERR_clear_error();
    if (!credentials.key || credentials.chain.empty()) {
        return invalid("TLS context: a key and a certificate are needed");
    }
    auto impl = std::make_unique<Impl>(options);
    if (impl->options.ciphers.empty()) {
        const auto all = preferred_ciphers();
        impl->options.ciphers.assign(all.begin(), all.end());
    }
    WEFT_ASSIGN(impl->id, spiffe_id_of(credentials.chain.front().get()));
    impl->serial = serial_of(credentials.chain.front().get());
    WEFT_ASSIGN(impl->stores, make_stores(credentials.roots));
    if (!impl->stores.contains(impl->id.trust_domain)) {
        return invalid("TLS context: no trust bundle for our own trust domain '{}'", impl->id.trust_domain);
    }
    impl->issuer = adopt_issuer(impl->stores.at(impl->id.trust_domain).get(), credentials);
    WEFT_ASSIGN(impl->client, make_context(true, credentials, impl->options));
    WEFT_ASSIGN(impl->server, make_context(false, credentials, impl->options));
    return std::shared_ptr<const Context>(new Context(std::move(impl)));
}

const SpiffeId& Context::id() const {
    return impl_->id;
}

const std::string& Context::serial() const {
    return impl_->serial;
}

std::size_t Context::session_count() const {
    return impl_->sessions.size();
}

std::size_t Context::given_session_count() const {
    return impl_->given.size();
}

void Context::forget_sessions() const {
    impl_->sessions.clear();
    impl_->given.clear();
}

} // namespace weft::ktls
