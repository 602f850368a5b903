// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Bundles of other trust domains from files and from an https server on loopback.
#include "agent/identity/federation.hpp"

#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <atomic>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "tests/unit/ca/world.hpp"
#include "tests/unit/identity/small_pki.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::identity {
namespace {

using ca::test::eventually;
using ca::test::TemporaryFolder;
using test::SmallPki;

std::string base64(const std::string& bytes) {
    std::string text(bytes.size() * 2 + 4, '\0');
    text.resize(static_cast<std::size_t>(EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                                         reinterpret_cast<const unsigned char*>(bytes.data()),
                                                         static_cast<int>(bytes.size()))));
    return text;
}

std::string spiffe_bundle(const SmallPki& pki) {
    return fmt::format(R"({{"keys": [{{"use": "jwt-svid", "kty": "EC"}}, {{"use": "x509-svid", "x5c": ["{}"]}}]}})",
                       base64(pki.root_der()));
}

/// Answers every request with the same bytes, over TLS with a certificate for 127.0.0.1 by a root of its own.
class HttpsServer {
public:
    HttpsServer() : root_key_(*pki::new_key()), key_(*pki::new_key()) {
        const pki::Validity life{test::now() - std::chrono::hours(1), test::now() + std::chrono::hours(1)};
        root_ = *pki::make_root(root_key_.get(), "test", life);
        certificate_ = *pki::make_leaf(pki::LeafKind::kServer, key_.get(), "spiffe://web.example/server", life,
                                       {root_.get(), root_key_.get()});
        // Web clients want a name or an address, which our own certificates never have.
        X509* const x = certificate_.get();
        X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_subject_alt_name, -1)));
        const pki::Owner<X509_EXTENSION> name(
            X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1"));
        X509_add_ext(x, name.get(), -1);
        X509_sign(x, root_key_.get(), EVP_sha256());
        context_.reset(SSL_CTX_new(TLS_server_method()));
        SSL_CTX_use_certificate(context_.get(), certificate_.get());
        SSL_CTX_use_PrivateKey(context_.get(), key_.get());
        listener_.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
        EXPECT_EQ(::listen(listener_.get(), 16), 0);
        EXPECT_EQ(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
        port_ = ntohs(address.sin_port);
        (void)::signal(SIGPIPE, SIG_IGN); // who finds an answer too long hangs up
        thread_ = std::thread([this] { serve(); });
    }
    ~HttpsServer() {
        stopping_ = true;
        ::shutdown(listener_.get(), SHUT_RDWR); // wakes accept()
        thread_.join();
    }
    void answer(const std::string& head, const std::string& body) {
        const std::scoped_lock lock(mutex_);
        answer_ = head + fmt::format("Content-Length: {}\r\nConnection: close\r\n\r\n", body.size()) + body;
    }
    [[nodiscard]] std::string url() const { return fmt::format("https://127.0.0.1:{}/bundle", port_); }
    [[nodiscard]] std::string root_pem() const { return *pki::pem_of(root_.get()); }

private:
    void serve() {
        while (!stopping_) {
            const UniqueFd peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
            if (!peer.valid()) {
                continue;
            }
            const timeval patience{5, 0};
            ::setsockopt(peer.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
            const OsslPtr<SSL> ssl(SSL_new(context_.get()));
            SSL_set_fd(ssl.get(), peer.get());
            std::array<char, 4096> request{};
            if (SSL_accept(ssl.get()) == 1 && SSL_read(ssl.get(), request.data(), request.size()) > 0) {
                const std::scoped_lock lock(mutex_);
                SSL_write(ssl.get(), answer_.data(), static_cast<int>(answer_.size()));
                SSL_shutdown(ssl.get());
            }
        }
    }

    OsslPtr<EVP_PKEY> root_key_, key_;
    OsslPtr<X509> root_, certificate_;
    OsslPtr<SSL_CTX> context_;
    UniqueFd listener_;
    int port_ = 0;
    std::mutex mutex_;
    std::string answer_;
    std::atomic<bool> stopping_ = false;
    std::thread thread_;
};

class FederationTest : public testing::Test {
protected:
    std::unique_ptr<Federation> start(const std::string& location, const std::string& ca_file = "") {
        auto started =
            Federation::start({{"bank.example", location, ca_file}}, "cluster.local", std::chrono::seconds(1));
        EXPECT_TRUE(started.has_value()) << started.error().message();
        return started ? std::move(*started) : nullptr;
    }
    static bool trusts(const Federation& federation, const SmallPki& pki) {
        const auto now = federation.current();
        const auto found = now->roots.find("bank.example");
        return found != now->roots.end() && found->second.size() == 1 &&
               *pki::der_of(found->second.front().get()) == pki.root_der();
    }
    static std::string trouble(const Federation& federation) {
        const auto now = federation.current();
        return now->troubles.empty() ? "" : now->troubles.front();
    }

    SmallPki bank_{"bank.example"}, next_{"bank.example"};
    TemporaryFolder files_;
};

TEST_F(FederationTest, FileIsReadAgainAndABadOneKeepsTheLast) {
    files_.write("bank.pem", bank_.root_pem());
    const auto federation = start(files_.path("bank.pem"));
    EXPECT_TRUE(eventually([&] { return trusts(*federation, bank_); }));
    files_.write("bank.pem", "nothing");
    EXPECT_TRUE(eventually([&] { return trouble(*federation).contains("bank.pem"); }));
    EXPECT_TRUE(trusts(*federation, bank_));
    files_.write("bank.pem", spiffe_bundle(next_));
    EXPECT_TRUE(eventually([&] { return trusts(*federation, next_) && trouble(*federation).empty(); }));
}

TEST_F(FederationTest, HttpsIsBelievedWithTheRightCertificateOnly) {
    HttpsServer server;
    server.answer("HTTP/1.1 200 OK\r\n", spiffe_bundle(bank_));
    files_.write("web.pem", server.root_pem());
    const auto federation = start(server.url(), files_.path("web.pem"));
    EXPECT_TRUE(eventually([&] { return trusts(*federation, bank_); })) << trouble(*federation);
    files_.write("other.pem", bank_.root_pem());
    const auto careful = start(server.url(), files_.path("other.pem"));
    EXPECT_TRUE(eventually([&] { return trouble(*careful).contains("certificate"); })) << trouble(*careful);
    EXPECT_TRUE(careful->current()->roots.empty());
}

TEST_F(FederationTest, BadAnswersKeepTheLastGoodOne) {
    HttpsServer server;
    server.answer("HTTP/1.1 200 OK\r\n", bank_.root_pem());
    files_.write("web.pem", server.root_pem());
    const auto federation = start(server.url(), files_.path("web.pem"));
    ASSERT_TRUE(eventually([&] { return trusts(*federation, bank_); })) << trouble(*federation);
    server.answer("HTTP/1.1 500 Broken\r\n", "");
    EXPECT_TRUE(eventually([&] { return trouble(*federation).contains("error: 500"); })) << trouble(*federation);
    server.answer("HTTP/1.1 200 OK\r\n", std::string((1 << 20) + 10, 'x'));
    EXPECT_TRUE(eventually([&] { return !trouble(*federation).contains("error: 500"); }));
    EXPECT_NE(trouble(*federation), "");
    server.answer("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n", "");
    EXPECT_TRUE(eventually([&] { return trouble(*federation).contains("bundle: "); })) << trouble(*federation);
    EXPECT_TRUE(trusts(*federation, bank_));
    server.answer("HTTP/1.1 200 OK\r\n", next_.root_pem());
    EXPECT_TRUE(eventually([&] { return trusts(*federation, next_) && trouble(*federation).empty(); }));
}

TEST_F(FederationTest, StatesTellWhatIsInForceAndSinceWhen) {
    const TemporaryFolder files;
    const auto federation = start(files.path("bank.pem"));
    ASSERT_TRUE(eventually([&] { return federation->states().size() == 1; }));
    EXPECT_EQ(federation->states().front().roots, 0U);
    EXPECT_FALSE(federation->states().front().read_at);
    EXPECT_NE(federation->states().front().trouble, "");
    files.write("bank.pem", bank_.root_pem() + next_.root_pem());
    federation->refresh();
    ASSERT_TRUE(eventually([&] { return federation->states().front().roots == 2; }));
    const auto read_at = federation->states().front().read_at;
    ASSERT_TRUE(read_at);
    files.write("bank.pem", "garbage");
    federation->refresh();
    ASSERT_TRUE(eventually([&] { return !federation->states().front().trouble.empty(); }));
    EXPECT_EQ(federation->states().front().roots, 2U);
    EXPECT_GE(*federation->states().front().read_at, *read_at);
    EXPECT_EQ(federation->states().front().location, files.path("bank.pem"));
}

TEST_F(FederationTest, AServerThatSaysNothingDoesNotKeepUsFromEnding) {
    const UniqueFd mute(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ASSERT_EQ(::bind(mute.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
    ASSERT_EQ(::listen(mute.get(), 1), 0);
    ASSERT_EQ(::getsockname(mute.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
    auto federation = start(fmt::format("https://127.0.0.1:{}/", ntohs(address.sin_port)));
    const UniqueFd peer(::accept4(mute.get(), nullptr, nullptr, SOCK_CLOEXEC)); // it waits for our answer now
    const auto began = std::chrono::steady_clock::now();
    federation.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(6)) << "a request may take ten";
}

TEST_F(FederationTest, ConfigurationIsChecked) {
    const auto fault = [](std::vector<FederatedDomain> domains) {
        const auto started = Federation::start(std::move(domains), "cluster.local", std::chrono::seconds(10));
        return started ? "" : started.error().message();
    };
    EXPECT_NE(fault({{"cluster.local", "/x", ""}}).find("our own"), std::string::npos);
    EXPECT_NE(fault({{"a.example", "http://a.example/", ""}}).find("neither"), std::string::npos);
    EXPECT_NE(fault({{"a.example", "/x", ""}, {"a.example", "/y", ""}}).find("twice"), std::string::npos);
    EXPECT_NE(fault({{"A", "/x", ""}}).find("trust domain"), std::string::npos);
}

TEST(Bundle, TakesRootsOnly) {
    const SmallPki pki("bank.example");
    EXPECT_EQ(parse_bundle(pki.root_pem())->size(), 1U);
    EXPECT_FALSE(parse_bundle(pki.issue("spiffe://bank.example/ns/a/sa/b").chain_pem()).has_value());
    EXPECT_FALSE(parse_bundle("{}").has_value());
    EXPECT_FALSE(parse_bundle(R"({"keys": []})").has_value());
    EXPECT_FALSE(parse_bundle(R"({"keys": [{"use": "x509-svid", "x5c": ["!!"]}]})").has_value());
    EXPECT_FALSE(parse_bundle(R"({"keys": [{"use": "x509-svid", "x5c": [7]}]})").has_value());
}

} // namespace
} // namespace weft::identity
