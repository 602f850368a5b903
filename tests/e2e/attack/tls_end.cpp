// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/e2e/attack/tls_end.hpp"

#include <sys/socket.h>
#include <sys/time.h>

#include <array>

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

namespace weft::e2e {
namespace {

/// Long enough for a machine with much else to do; nothing waits that long when all is well.
constexpr std::chrono::seconds kPatience{30};

std::string broken(ssize_t got) {
    if (got == 0) {
        return "eof";
    }
    return errno == EAGAIN ? "timeout" : "reset";
}

} // namespace

void limit_waiting(int fd, std::chrono::seconds most) {
    const timeval limit{most.count(), 0};
    EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
}

bool send_all(int fd, std::string_view bytes) {
    while (!bytes.empty()) {
        const ssize_t put = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (put <= 0) {
            return false;
        }
        bytes.remove_prefix(static_cast<std::size_t>(put));
    }
    return true;
}

std::string read_to_end(int fd) {
    limit_waiting(fd, kPatience);
    std::array<char, 4096> bytes{};
    ssize_t got = 0;
    while ((got = ::recv(fd, bytes.data(), bytes.size(), 0)) > 0) {
    }
    return broken(got);
}

TlsEnd::TlsEnd(Role role, UniqueFd fd, const Manners& manners) : fd_(std::move(fd)) {
    limit_waiting(fd_.get(), kPatience);
    context_.reset(SSL_CTX_new(TLS_method()));
    SSL_CTX_set_verify(context_.get(), role == Role::kServer ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       [](int, X509_STORE_CTX*) { return 1; }); // an attacker takes whom it gets
    EXPECT_EQ(SSL_CTX_set_min_proto_version(context_.get(), manners.version), 1);
    EXPECT_EQ(SSL_CTX_set_max_proto_version(context_.get(), manners.version), 1);
    if (manners.own != nullptr) {
        EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), manners.own->chain.front().get()), 1);
        EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), manners.own->key.get()), 1);
        for (std::size_t i = 1; i < manners.own->chain.size(); ++i) {
            EXPECT_EQ(SSL_CTX_add1_chain_cert(context_.get(), manners.own->chain[i].get()), 1);
        }
    }
    if (role == Role::kServer) {
        SSL_CTX_set_num_tickets(context_.get(), 1);
        SSL_CTX_set_alpn_select_cb(
            context_.get(),
            [](SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned int, void*) {
                *out = in + 1; // the first that is offered
                *size = in[0];
                return SSL_TLSEXT_ERR_OK;
            },
            nullptr);
    }
    ssl_.reset(SSL_new(context_.get()));
    if (role == Role::kClient && !manners.alpn.empty()) {
        const auto names = static_cast<char>(manners.alpn.size()) + manners.alpn;
        EXPECT_EQ(SSL_set_alpn_protos(ssl_.get(), reinterpret_cast<const unsigned char*>(names.data()),
                                      static_cast<unsigned int>(names.size())),
                  0);
    }
    in_ = BIO_new(BIO_s_mem());
    out_ = BIO_new(BIO_s_mem());
    SSL_set_bio(ssl_.get(), in_, out_);
    if (role == Role::kClient) {
        SSL_set_connect_state(ssl_.get());
    } else {
        SSL_set_accept_state(ssl_.get());
    }
}

bool TlsEnd::flush() {
    std::array<char, 4096> bytes{};
    int got = 0;
    while ((got = BIO_read(out_, bytes.data(), bytes.size())) > 0) {
        const std::string_view piece(bytes.data(), static_cast<std::size_t>(got));
        sent_ += piece;
        if (!send_all(fd_.get(), piece)) {
            ending_ = "reset";
            return false;
        }
    }
    return true;
}

bool TlsEnd::fill() {
    std::array<char, 16384> bytes{};
    const ssize_t got = ::recv(fd_.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) {
        ending_ = broken(got);
        return false;
    }
    return BIO_write(in_, bytes.data(), static_cast<int>(got)) == got;
}

template <typename Call>
int TlsEnd::drive(const Call& call) {
    while (true) {
        ERR_clear_error();
        const int done = call();
        const auto reason = ERR_peek_error();
        const int error = SSL_get_error(ssl_.get(), done);
        const bool written = flush();
        if (done > 0) {
            return done;
        }
        if (error == SSL_ERROR_ZERO_RETURN) {
            ending_ = "alert close notify";
            return 0;
        }
        if (error != SSL_ERROR_WANT_READ) {
            const char* text = ERR_reason_error_string(reason);
            ending_ = fmt::format("alert {}", text != nullptr ? text : "unknown");
            return 0;
        }
        // What the other end said before it closed is read even where nothing can be written any more.
        if (!fill()) {
            return 0;
        }
        (void)written;
    }
}

bool TlsEnd::handshake() {
    return drive([this] { return SSL_do_handshake(ssl_.get()); }) > 0;
}

std::string TlsEnd::receive() {
    std::string data(16384, '\0');
    const int got = drive([&] { return SSL_read(ssl_.get(), data.data(), static_cast<int>(data.size())); });
    data.resize(static_cast<std::size_t>(std::max(got, 0)));
    return data;
}

bool TlsEnd::send(std::string_view data) {
    return drive([&] { return SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size())); }) > 0;
}

void TlsEnd::say_goodbye() {
    EXPECT_GE(SSL_shutdown(ssl_.get()), 0);
    EXPECT_TRUE(flush());
}

} // namespace weft::e2e
