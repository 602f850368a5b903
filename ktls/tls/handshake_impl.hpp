// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The state of one handshake, and the points where OpenSSL calls back into it.
#pragma once

#include "ktls/tls/context_impl.hpp"
#include "weft/ktls/handshake.hpp"

namespace weft::ktls {

struct Handshake::Impl {
    enum class Phase : std::uint8_t { kHandshake, kTicket, kDone, kFailed };

    std::shared_ptr<const Context> context;
    OsslPtr<SSL> ssl;
    bool is_client = false;
    Authorise authorise;
    std::string resumption_key;

    Phase phase = Phase::kHandshake;
    Verdict verdict;           ///< of the certificate callback, or of the resumed session
    bool no_alpn = false;      ///< noticed in a callback
    bool knows_issuer = false; ///< the peer has our intermediate
    bool ticket_seen = false;  ///< client: the server accepted us
    bool send_keys = false;    ///< records sent from now on are under the application keys
    bool receive_keys = false; ///< the same for records received
    Established established;
    HandshakeFailure failure;

    Step step();
    Step fail(Failure reason, std::string detail);

    /// Installs the callbacks into a context of either role.
    static bool hook(SSL_CTX* context, bool client);
    /// The handshake that an SSL belongs to; null after release().
    static Impl* of(const SSL* ssl) { return static_cast<Impl*>(SSL_get_app_data(ssl)); }

private:
    Step go_on();
    Step await_ticket();
    Step finish();
    Step fail_from_openssl(int result);

    static void on_keylog(const SSL* ssl, const char* line);
    static void on_message(int sent, int version, int type, const void* bytes, size_t size, SSL* ssl, void*);
    static int on_certificate(X509_STORE_CTX* chain, void*);
    static int on_add_issuer(SSL* ssl, unsigned int type, unsigned int message, const unsigned char** out, size_t* size,
                             X509* certificate, size_t index, int* alert, void*);
    static int on_issuer(SSL* ssl, unsigned int type, unsigned int message, const unsigned char* in, size_t size,
                         X509* certificate, size_t index, int* alert, void*);
    static int on_choose_chain(SSL* ssl, void*);
    static int on_ticket_received(SSL* ssl, SSL_SESSION* session);
    static int on_alpn(SSL* ssl, const unsigned char** out, unsigned char* out_size, const unsigned char* in,
                       unsigned int in_size, void*);
    static int on_ticket_made(SSL* ssl, SSL_SESSION* session);
    static SSL_SESSION* on_ticket_used(SSL* ssl, const unsigned char* name, int size, int* keep);
};

} // namespace weft::ktls
