// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Drives one handshake, and puts a name on whatever goes wrong.
#include "weft/ktls/handshake.hpp"

#include <openssl/err.h>

#include "ktls/tls/handshake_impl.hpp"
#include "ktls/tls/openssl_error.hpp"
#include "ktls/tls/socket_bio.hpp"

namespace weft::ktls {
namespace {

constexpr std::size_t kLongestServerName = 253;
constexpr int kAlertReasons = 1000; // SSL_AD_REASON_OFFSET: OpenSSL's reason for "the peer sent alert N"

Failure classify_alert(int alert) {
    switch (alert) {
    case SSL_AD_PROTOCOL_VERSION:
        return Failure::kProtocolVersion;
    case SSL_AD_NO_APPLICATION_PROTOCOL:
        return Failure::kNoAlpn;
    default:
        return Failure::kRefusedByPeer;
    }
}

Failure classify_reason(int reason) {
    switch (reason) {
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
        return Failure::kNoCertificate;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_UNSUPPORTED_SSL_VERSION:
    case SSL_R_UNKNOWN_PROTOCOL:
    case SSL_R_BAD_PROTOCOL_VERSION_NUMBER:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
        return Failure::kProtocolVersion;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        return Failure::kNoAlpn;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
        return Failure::kNoSharedParameters;
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
        return Failure::kEof;
    case ERR_R_MALLOC_FAILURE:
    case ERR_R_INTERNAL_ERROR:
        return Failure::kInternal;
    default:
        return Failure::kGarbage;
    }
}

std::string server_name(const SpiffeId& id) {
    auto name = fmt::format("{}.{}.{}", id.service_account, id.namespace_name, id.trust_domain);
    return name.size() <= kLongestServerName ? name : std::string();
}

} // namespace

Step Handshake::Impl::fail(Failure reason, std::string detail) {
    phase = Phase::kFailed;
    failure.reason = reason;
    failure.detail = std::move(detail);
    failure.peer = verdict.peer;
    return Step::kFailed;
}

Step Handshake::Impl::fail_from_openssl(int result) {
    const int error = SSL_get_error(ssl.get(), result);
    if (error == SSL_ERROR_WANT_READ) {
        return Step::kWantRead;
    }
    if (error == SSL_ERROR_WANT_WRITE) {
        return Step::kWantWrite;
    }
    const auto code = ERR_peek_error();
    auto text = take_openssl_error();
    if (verdict.failure) {
        return fail(*verdict.failure, verdict.detail);
    }
    if (no_alpn) {
        return fail(Failure::kNoAlpn, fmt::format("the peer does not offer {}", kAlpn));
    }
    if (const int broken = socket_bio_error(SSL_get_rbio(ssl.get())); broken != 0) {
        return fail(broken == EPIPE ? Failure::kEof : Failure::kReset, std::strerror(broken));
    }
    if (code == 0) {
        return fail(Failure::kEof, "the peer closed the connection");
    }
    const int reason = ERR_GET_REASON(code);
    if (reason > kAlertReasons && reason < kAlertReasons + 256) {
        failure.alert = reason - kAlertReasons;
        return fail(classify_alert(failure.alert),
                    fmt::format("alert {}: {}", failure.alert, SSL_alert_desc_string_long(failure.alert)));
    }
    return fail(classify_reason(reason), std::move(text));
}

Step Handshake::Impl::step() {
    if (phase == Phase::kDone) {
        return Step::kDone;
    }
    if (phase == Phase::kFailed) {
        return Step::kFailed;
    }
    ERR_clear_error(); // of whoever used this thread before
    const auto result = go_on();
    ERR_clear_error();
    return result;
}

Step Handshake::Impl::go_on() {
    if (phase == Phase::kHandshake) {
        const int result = SSL_do_handshake(ssl.get());
        if (result != 1) {
            return fail_from_openssl(result);
        }
        if (!is_client) {
            return finish();
        }
        phase = Phase::kTicket;
    }
    return await_ticket();
}

// Reads up to the server's ticket and not one record further. SSL_peek comes back after every record that holds no
// application data, as SSL_MODE_AUTO_RETRY is off.
Step Handshake::Impl::await_ticket() {
    while (!ticket_seen) {
        char byte = 0;
        const int result = SSL_peek(ssl.get(), &byte, 1);
        if (result > 0) {
            established.left_over = true;
            return finish();
        }
        if (ticket_seen) {
            break;
        }
        const int error = SSL_get_error(ssl.get(), result);
        if (error == SSL_ERROR_ZERO_RETURN) {
            return fail(Failure::kEof, "the peer closed before it accepted us");
        }
        if (const auto wanted = fail_from_openssl(result); wanted != Step::kWantRead) {
            return wanted;
        }
        // "Want read" is also said after a record without application data, while the next one may be there already.
        if (socket_bio_waits(SSL_get_rbio(ssl.get()))) {
            return Step::kWantRead;
        }
    }
    return finish();
}

Step Handshake::Impl::finish() {
    const unsigned char* protocol = nullptr;
    unsigned int size = 0;
    SSL_get0_alpn_selected(ssl.get(), &protocol, &size);
    const std::string_view agreed(reinterpret_cast<const char*>(protocol), size);
    if (agreed != kAlpn && agreed != kAlpnRekey) {
        return fail(Failure::kNoAlpn, fmt::format("the peer did not choose {}", kAlpn));
    }
    const auto cipher = cipher_from_name(SSL_CIPHER_get_name(SSL_get_current_cipher(ssl.get())));
    if (!cipher || !verdict.peer || !send_keys || !receive_keys) {
        return fail(Failure::kInternal, "OpenSSL did not tell cipher, peer and secrets");
    }
    established.peer = *verdict.peer;
    established.resumed = SSL_session_reused(ssl.get()) == 1;
    established.rekey = agreed == kAlpnRekey;
    if (const int group = static_cast<int>(SSL_get_negotiated_group(ssl.get())); group != 0) {
        const char* name = SSL_group_to_name(ssl.get(), group);
        established.group = name == nullptr ? std::to_string(group) : name;
    }
    established.traffic.cipher = *cipher;
    established.left_over = established.left_over || SSL_pending(ssl.get()) > 0 || SSL_has_pending(ssl.get()) == 1;
    phase = Phase::kDone;
    return Step::kDone;
}

Handshake::Handshake(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Handshake::Handshake(Handshake&&) noexcept = default;
Handshake& Handshake::operator=(Handshake&&) noexcept = default;
Handshake::~Handshake() = default;

Result<Handshake> Handshake::client(std::shared_ptr<const Context> context, int fd, ClientOptions options) {
    auto impl = std::make_unique<Impl>();
    impl->is_client = true;
    impl->context = std::move(context);
    impl->authorise = std::move(options.authorise);
    impl->resumption_key = std::move(options.resumption_key);
    auto& shared = impl->context->impl();
    impl->ssl.reset(SSL_new(shared.client.get()));
    auto bio = new_socket_bio(fd);
    if (!impl->ssl || !bio) {
        return weft::failure(ENOMEM, "TLS client: {}", take_openssl_error());
    }
    SSL* const ssl = impl->ssl.get();
    SSL_set_app_data(ssl, impl.get());
    SSL_set0_rbio(ssl, bio.get());
    BIO_up_ref(bio.get());
    SSL_set0_wbio(ssl, bio.release());
    SSL_set_connect_state(ssl);
    if (options.server) {
        if (const auto name = server_name(*options.server); !name.empty()) {
            SSL_set_tlsext_host_name(ssl, name.c_str());
        }
    }
    if (!impl->resumption_key.empty()) {
        if (const auto session = shared.sessions.get(impl->resumption_key)) {
            X509* leaf = SSL_SESSION_get0_peer(session.get());
            auto verdict =
                leaf == nullptr ? Verdict{{}, Failure::kInternal, 0, {}} : verify_again(leaf, impl->authorise);
            if (!verdict.failure && SSL_set_session(ssl, session.get()) == 1) {
                impl->verdict = std::move(verdict); // the full handshake overwrites it, if the server wants one
            } else {
                shared.sessions.remove(impl->resumption_key);
            }
        }
    }
    return Handshake(std::move(impl));
}

Result<Handshake> Handshake::server(std::shared_ptr<const Context> context, int fd, ServerOptions options) {
    auto impl = std::make_unique<Impl>();
    impl->context = std::move(context);
    impl->authorise = std::move(options.authorise);
    impl->ssl.reset(SSL_new(impl->context->impl().server.get()));
    auto bio = new_socket_bio(fd);
    if (!impl->ssl || !bio) {
        return weft::failure(ENOMEM, "TLS server: {}", take_openssl_error());
    }
    SSL* const ssl = impl->ssl.get();
    SSL_set_app_data(ssl, impl.get());
    SSL_set0_rbio(ssl, bio.get());
    BIO_up_ref(bio.get());
    SSL_set0_wbio(ssl, bio.release());
    SSL_set_accept_state(ssl);
    return Handshake(std::move(impl));
}

Step Handshake::step() {
    return impl_->step();
}

void Handshake::time_out() {
    if (impl_->phase != Impl::Phase::kDone) {
        (void)impl_->fail(Failure::kTimeout, "no answer in time");
    }
}

const Established& Handshake::established() const {
    return impl_->established;
}

const HandshakeFailure& Handshake::failure() const {
    return impl_->failure;
}

OsslPtr<SSL> Handshake::release() {
    SSL_set_app_data(impl_->ssl.get(), nullptr);
    return std::move(impl_->ssl);
}

} // namespace weft::ktls
