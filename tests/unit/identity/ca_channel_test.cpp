// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The client of weft-ca speaks TLS 1.3 only: a server that has nothing newer than TLS 1.2 is refused in the handshake.
#include "agent/identity/ca_channel.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <csignal>
#include <future>

#include <gmock/gmock.h>
#include <openssl/err.h>

#include "tests/unit/identity/small_pki.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::identity {
namespace {

using ::testing::HasSubstr;

/// Takes one connection; run() says how its handshake ended: the version, or OpenSSL's reason.
class OldServer {
public:
    explicit OldServer(int newest) : context_(SSL_CTX_new(TLS_server_method())) {
        std::signal(SIGPIPE, SIG_IGN); // the client goes away in the midst of it
        const test::SmallPki pki;
        const auto own = pki.issue("spiffe://cluster.local/weft-ca");
        SSL_CTX_set_max_proto_version(context_.get(), newest);
        SSL_CTX_set_cipher_list(context_.get(), "ALL:@SECLEVEL=0");
        EXPECT_EQ(SSL_CTX_use_certificate(context_.get(), own.chain.front().get()), 1);
        EXPECT_EQ(SSL_CTX_use_PrivateKey(context_.get(), own.key.get()), 1);
        listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof at;
        EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&at), size), 0);
        EXPECT_EQ(::listen(listener_.get(), 8), 0);
        EXPECT_EQ(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
        port_ = ntohs(at.sin_port);
    }
    [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
    std::string run() {
        const timeval patience{.tv_sec = 30, .tv_usec = 0};
        (void)::setsockopt(listener_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        const UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        const pki::OsslPtr<SSL> ssl(SSL_new(context_.get()));
        SSL_set_fd(ssl.get(), fd.get());
        ERR_clear_error();
        if (SSL_accept(ssl.get()) == 1) {
            return SSL_get_version(ssl.get());
        }
        const char* reason = ERR_reason_error_string(ERR_peek_error());
        return reason != nullptr ? reason : "the client went away";
    }

private:
    pki::OsslPtr<SSL_CTX> context_;
    UniqueFd listener_;
    std::uint16_t port_ = 0;
};

std::string handshake_with(int newest) {
    OldServer server(newest);
    auto ending = std::async(std::launch::async, [&] { return server.run(); });
    const auto channel = open_channel(server.address(), {"cluster.local", nullptr, {}, std::string(64, 'a')}, "", "");
    EXPECT_TRUE(channel.has_value()) << channel.error().message();
    while (ending.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
        // Connects as long as somebody waits for it; it never succeeds, as that server is nobody's.
        EXPECT_FALSE((*channel)->WaitForConnected(std::chrono::system_clock::now() + std::chrono::milliseconds(50)));
    }
    return ending.get();
}

TEST(CaChannel, Tls12IsRefusedInTheHandshake) {
    EXPECT_EQ(handshake_with(TLS1_3_VERSION), "TLSv1.3");
    EXPECT_THAT(handshake_with(TLS1_2_VERSION), HasSubstr("no shared cipher"));
}

TEST(CaChannel, WithoutThatRuleThereIsNoChannel) {
    const std::string rule = std::getenv("GRPC_SSL_CIPHER_SUITES");
    ::unsetenv("GRPC_SSL_CIPHER_SUITES");
    const auto channel = open_channel("127.0.0.1:1", {"cluster.local", nullptr, {}, ""}, "", "");
    ::setenv("GRPC_SSL_CIPHER_SUITES", rule.c_str(), 1);
    ASSERT_FALSE(channel.has_value());
    EXPECT_EQ(channel.error().code(), EPROTO);
}

} // namespace
} // namespace weft::identity
