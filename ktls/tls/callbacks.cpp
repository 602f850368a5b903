// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What OpenSSL tells a handshake while it runs: secrets, records, the peer's chain, tickets.
#include <array>
#include <cstring>
#include <string_view>

#include "ktls/tls/handshake_impl.hpp"

namespace weft::ktls {
namespace {

int digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

TrafficSecret from_hex(std::string_view hex) {
    TrafficSecret secret;
    auto bytes = secret.fill(hex.size() / 2);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        bytes[i] = static_cast<std::uint8_t>(digit(hex[2 * i]) << 4 | digit(hex[2 * i + 1]));
    }
    return secret;
}

std::string name_of(const SSL_SESSION* session) {
    unsigned int size = 0;
    const unsigned char* name = SSL_SESSION_get_id(session, &size);
    return {reinterpret_cast<const char*>(name), size};
}

bool has_alpn(const SSL* ssl) {
    const unsigned char* name = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl, &name, &size);
    return size > 0;
}

} // namespace

bool Handshake::Impl::hook(SSL_CTX* context, bool client) {
    SSL_CTX_set_keylog_callback(context, on_keylog);
    SSL_CTX_set_msg_callback(context, on_message);
    SSL_CTX_set_cert_verify_callback(context, on_certificate, nullptr);
    SSL_CTX_sess_set_new_cb(context, client ? on_ticket_received : on_ticket_made);
    if (!client) {
        SSL_CTX_set_alpn_select_cb(context, on_alpn, nullptr);
        SSL_CTX_sess_set_get_cb(context, on_ticket_used);
    }
    SSL_CTX_set_cert_cb(context, on_choose_chain, nullptr);
    return SSL_CTX_add_custom_ext(context, kIssuerExtension, SSL_EXT_CLIENT_HELLO | SSL_EXT_TLS1_3_CERTIFICATE_REQUEST,
                                  on_add_issuer, nullptr, nullptr, on_issuer, nullptr) == 1;
}

// OpenSSL 3.0 has no other way to learn traffic secrets. Lines are "LABEL CLIENT_RANDOM SECRET". Each comes at the very
// moment when that direction's keys change, which is where counting records begins.
void Handshake::Impl::on_keylog(const SSL* ssl, const char* line) {
    auto* self = of(ssl);
    const std::string_view text(line);
    const auto first = text.find(' ');
    const auto last = text.rfind(' ');
    if (self == nullptr || first == std::string_view::npos || last == first) {
        return;
    }
    const auto label = text.substr(0, first);
    const bool clients = label == "CLIENT_TRAFFIC_SECRET_0";
    if (!clients && label != "SERVER_TRAFFIC_SECRET_0") {
        return;
    }
    auto& traffic = self->established.traffic;
    if (clients == self->is_client) {
        traffic.send.secret = from_hex(text.substr(last + 1));
        self->send_keys = true;
    } else {
        traffic.receive.secret = from_hex(text.substr(last + 1));
        self->receive_keys = true;
    }
}

void Handshake::Impl::on_message(int sent, int, int type, const void*, size_t, SSL* ssl, void*) {
    auto* self = of(ssl);
    if (self == nullptr || type != SSL3_RT_INNER_CONTENT_TYPE) {
        return; // the inner type is told once for each whole record that was encrypted or decrypted
    }
    if (sent != 0 && self->send_keys) {
        ++self->established.traffic.send.sequence;
    } else if (sent == 0 && self->receive_keys) {
        ++self->established.traffic.receive.sequence;
    }
}

int Handshake::Impl::on_certificate(X509_STORE_CTX* chain, void*) {
    const auto* ssl = static_cast<SSL*>(X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx()));
    auto* self = of(ssl);
    if (self == nullptr) {
        X509_STORE_CTX_set_error(chain, X509_V_ERR_UNSPECIFIED);
        return 0;
    }
    if (!has_alpn(ssl)) {
        // The name is agreed before certificates are sent, so a peer without it never learns whom we would trust.
        self->no_alpn = true;
        X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);
        return 0;
    }
    self->verdict =
        verify_peer(self->context->impl().stores, X509_STORE_CTX_get0_cert(chain), X509_STORE_CTX_get0_untrusted(chain),
                    self->is_client ? "ssl_server" : "ssl_client", self->authorise);
    X509_STORE_CTX_set_error(chain, self->verdict.x509_error);
    return self->verdict.failure ? 0 : 1;
}

// ClientHello and CertificateRequest say which intermediate this end has.
int Handshake::Impl::on_add_issuer(SSL* ssl, unsigned int, unsigned int, const unsigned char** out, size_t* size, X509*,
                                   size_t, int*, void*) {
    const auto* self = of(ssl);
    if (self == nullptr || !self->context->impl().issuer) {
        return 0; // without the extension
    }
    *out = self->context->impl().issuer->data();
    *size = self->context->impl().issuer->size();
    return 1;
}

int Handshake::Impl::on_issuer(SSL* ssl, unsigned int, unsigned int, const unsigned char* in, size_t size, X509*,
                               size_t, int*, void*) {
    if (auto* self = of(ssl); self != nullptr) {
        const auto& own = self->context->impl().issuer;
        self->knows_issuer = own && size == own->size() && std::memcmp(in, own->data(), size) == 0;
    }
    return 1; // another's intermediate, or none: the whole chain is sent
}

int Handshake::Impl::on_choose_chain(SSL* ssl, void*) {
    const auto* self = of(ssl);
    return self == nullptr || !self->knows_issuer || SSL_clear_chain_certs(ssl) == 1 ? 1 : 0;
}

int Handshake::Impl::on_ticket_received(SSL* ssl, SSL_SESSION* session) {
    auto* self = of(ssl);
    if (self == nullptr) {
        return 0;
    }
    self->ticket_seen = true;
    if (!self->resumption_key.empty() && SSL_SESSION_is_resumable(session) == 1) {
        self->context->impl().sessions.put(self->resumption_key, OsslPtr<SSL_SESSION>(SSL_SESSION_dup(session)));
    }
    return 0; // OpenSSL keeps its own reference
}

int Handshake::Impl::on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                             unsigned int in_size, void*) {
    auto* self = of(ssl);
    if (self == nullptr) {
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    const auto offered = [&](std::string_view wanted) {
        for (unsigned int at = 0; at < in_size; at += 1U + in[at]) {
            if (at + 1U + in[at] <= in_size && in[at] == wanted.size() &&
                std::memcmp(in + at + 1, wanted.data(), wanted.size()) == 0) {
                *out = in + at + 1;
                *out_size = in[at];
                return true;
            }
        }
        return false;
    };
    if ((self->context->impl().options.rekey && offered(kAlpnRekey)) || offered(kAlpn)) {
        return SSL_TLSEXT_ERR_OK;
    }
    self->no_alpn = true;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

int Handshake::Impl::on_ticket_made(SSL* ssl, SSL_SESSION* session) {
    if (auto* self = of(ssl); self != nullptr) {
        self->context->impl().given.put(name_of(session), OsslPtr<SSL_SESSION>(SSL_SESSION_dup(session)));
    }
    return 0; // OpenSSL keeps its own reference
}

// A ticket names a session that this context remembers; whether that peer may come again is asked anew. What is not
// taken leads to a full handshake, which gives the reason to the peer. A ticket is always answered with a new one: the
// client waits for it.
SSL_SESSION* Handshake::Impl::on_ticket_used(SSL* ssl, const unsigned char* name, int size, int* keep) {
    *keep = 0; // the reference that is returned is OpenSSL's
    auto* self = of(ssl);
    if (self == nullptr || size <= 0) {
        return nullptr;
    }
    auto session =
        self->context->impl().given.get({reinterpret_cast<const char*>(name), static_cast<std::size_t>(size)});
    X509* leaf = session ? SSL_SESSION_get0_peer(session.get()) : nullptr;
    if (leaf == nullptr) {
        return nullptr;
    }
    auto verdict = verify_again(leaf, self->authorise);
    if (verdict.failure) {
        return nullptr;
    }
    self->verdict = std::move(verdict);
    return session.release();
}

} // namespace weft::ktls
