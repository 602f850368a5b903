// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Handshakes that must fail: each is refused, by the end that should, for the reason that is counted.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/net/ktls/pki.hpp"
#include "tests/net/ktls/streams.hpp"
#include "weft/ktls/handshake.hpp"

namespace weft::ktls {
namespace {

using test::Authority;
using test::LeafOptions;
using test::TcpPair;

struct Ends {
    HandshakeFailure client;
    HandshakeFailure server;
    Step client_step;
    Step server_step;
};

Ends meet(const std::shared_ptr<const Context>& client, const std::shared_ptr<const Context>& server,
          Authorise client_says = test::anybody, Authorise server_says = test::anybody) {
    const TcpPair sockets;
    auto c = *Handshake::client(client, sockets.client.get(), {std::move(client_says), {}, {}});
    auto s = *Handshake::server(server, sockets.server.get(), {std::move(server_says)});
    const auto outcome = test::drive(c, sockets.client.get(), s, sockets.server.get());
    return {c.failure(), s.failure(), outcome.client, outcome.server};
}

// A bad certificate on one end is found by the other one, whichever role it has; the bad end gets an alert.
void expect_refused(const LeafOptions& leaf, const Authority& issuer, const Authority& trusted, Failure reason) {
    auto credentials = issuer.credentials(leaf, "cluster.local");
    credentials.roots["elsewhere.example"].push_back(share(issuer.root()));
    credentials.roots["cluster.local"].push_back(share(trusted.root()));
    auto made = Context::create(credentials);
    ASSERT_TRUE(made.has_value()) << made.error().message();
    const auto good = trusted.context();
    const auto by_server = meet(*made, good);
    EXPECT_EQ(by_server.server_step, Step::kFailed);
    EXPECT_EQ(by_server.client_step, Step::kFailed);
    EXPECT_EQ(by_server.server.reason, reason) << failure_name(by_server.server.reason) << by_server.server.detail;
    EXPECT_EQ(by_server.client.reason, Failure::kRefusedByPeer) << by_server.client.detail;
    EXPECT_NE(by_server.client.alert, 0);
    const auto by_client = meet(good, *made);
    EXPECT_EQ(by_client.client.reason, reason) << failure_name(by_client.client.reason) << by_client.client.detail;
    EXPECT_EQ(by_client.server.reason, Failure::kRefusedByPeer) << by_client.server.detail;
}

TEST(Attack, ExpiredCertificate) {
    const Authority ca;
    LeafOptions leaf;
    leaf.starts_in_seconds = -7200;
    leaf.ends_in_seconds = -60;
    expect_refused(leaf, ca, ca, Failure::kExpired);
}

TEST(Attack, CertificateOfTheFuture) {
    const Authority ca;
    LeafOptions leaf;
    leaf.starts_in_seconds = 3600;
    leaf.ends_in_seconds = 7200;
    expect_refused(leaf, ca, ca, Failure::kNotYetValid);
}

TEST(Attack, AnotherAuthority) {
    expect_refused({}, Authority(), Authority(), Failure::kUnknownCa);
    expect_refused({}, Authority(true), Authority(true), Failure::kUnknownCa);
}

TEST(Attack, UnknownTrustDomain) {
    const Authority ca;
    LeafOptions leaf;
    leaf.uris = {"spiffe://elsewhere.example/ns/shop/sa/web"};
    expect_refused(leaf, ca, ca, Failure::kWrongTrustDomain);
}

// The foreign domain is trusted, but its authority must not make identities of ours.
TEST(Attack, AuthorityOfAnotherTrustDomain) {
    const Authority ours;
    const Authority theirs;
    auto trusting = ours.credentials();
    trusting.roots["elsewhere.example"].push_back(share(theirs.root()));
    auto forged = theirs.credentials();
    forged.roots["cluster.local"].push_back(share(ours.root()));
    const auto ends = meet(*Context::create(forged), *Context::create(trusting));
    EXPECT_EQ(ends.server.reason, Failure::kUnknownCa);
}

TEST(Attack, RightAuthorityWrongIdentity) {
    const Authority ca;
    const auto only_db = [](const Peer& peer) -> Result<> {
        if (peer.id.service_account != "db") {
            return invalid("{} is not db", peer.id.to_string());
        }
        return {};
    };
    const auto web = ca.context(test::leaf_of("web"));
    const auto db = ca.context(test::leaf_of("db"));
    EXPECT_EQ(meet(web, db, only_db).client_step, Step::kDone);
    auto ends = meet(db, web, only_db);
    EXPECT_EQ(ends.client.reason, Failure::kIdentityRefused);
    EXPECT_EQ(ends.server.reason, Failure::kRefusedByPeer);
    ASSERT_TRUE(ends.client.peer.has_value());
    EXPECT_EQ(ends.client.peer->id.service_account, "web") << "a flow names who was refused";
    EXPECT_THAT(ends.client.detail, ::testing::HasSubstr("is not db"));
    ends = meet(web, db, test::anybody, only_db);
    EXPECT_EQ(ends.server.reason, Failure::kIdentityRefused);
    EXPECT_EQ(ends.client.reason, Failure::kRefusedByPeer) << "a client is not done before the server agrees";
}

// The server closes at once, with the rest of the client's flight unread, which makes the kernel send RST: the alert
// must still be what the client sees.
TEST(Attack, TheReasonArrivesThoughTheSocketIsClosed) {
    const Authority ca;
    for (int i = 0; i < 20; ++i) {
        TcpPair sockets;
        const auto nobody = [](const Peer&) -> Result<> { return invalid("nobody may come"); };
        auto c = *Handshake::client(ca.context(), sockets.client.get(), {test::anybody, {}, {}});
        auto s = *Handshake::server(ca.context(), sockets.server.get(), {nobody});
        ASSERT_TRUE(test::eventually([&] { return c.step() == Step::kFailed || s.step() == Step::kFailed; }));
        EXPECT_EQ(s.failure().reason, Failure::kIdentityRefused);
        sockets.server.reset();
        ASSERT_TRUE(test::eventually([&] { return c.step() == Step::kFailed; }));
        EXPECT_EQ(c.failure().reason, Failure::kRefusedByPeer) << c.failure().detail;
    }
}

// Certificates that no honest authority makes, and weft-ca neither: Context::create would refuse them as our own, so
// the attacker is plain OpenSSL.
struct Attacker {
    explicit Attacker(bool client) : context(SSL_CTX_new(client ? TLS_client_method() : TLS_server_method())) {
        static const unsigned char kProtocol[] = "\x06weft/1";
        SSL_CTX_set_alpn_protos(context.get(), kProtocol, 7);
    }
    void use(const test::Leaf& leaf) const {
        SSL_CTX_set_security_level(context.get(), 0);
        ASSERT_EQ(SSL_CTX_use_certificate(context.get(), leaf.certificate.get()), 1);
        ASSERT_EQ(SSL_CTX_use_PrivateKey(context.get(), leaf.key.get()), 1);
    }
    OsslPtr<SSL_CTX> context;
};

// The attacker as client against our server. What our side says.
HandshakeFailure attack(const Attacker& attacker, const std::shared_ptr<const Context>& server) {
    TcpPair sockets;
    const OsslPtr<SSL> ssl(SSL_new(attacker.context.get()));
    SSL_set_fd(ssl.get(), sockets.client.get());
    SSL_set_connect_state(ssl.get());
    (void)::fcntl(sockets.client.get(), F_SETFL, O_NONBLOCK);
    auto s = *Handshake::server(server, sockets.server.get(), {test::anybody});
    Step step = Step::kWantRead;
    EXPECT_TRUE(test::eventually([&] {
        if (SSL_do_handshake(ssl.get()) != 1 && SSL_get_error(ssl.get(), -1) != SSL_ERROR_WANT_READ) {
            (void)::shutdown(sockets.client.get(), SHUT_WR); // it gave up
        }
        step = s.step();
        return step == Step::kDone || step == Step::kFailed;
    }));
    EXPECT_EQ(step, Step::kFailed);
    return s.failure();
}

TEST(Attack, NoCertificate) {
    EXPECT_EQ(attack(Attacker(true), Authority().context()).reason, Failure::kNoCertificate);
}

TEST(Attack, CertificatesWithoutOneIdentity) {
    const Authority ca;
    const auto server = ca.context();
    for (const auto& uris : {std::vector<std::string>{},
                             {"https://cluster.local/ns/shop/sa/web"},
                             {"spiffe://cluster.local/ns/shop"},
                             {"spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/shop/sa/db"},
                             {"spiffe://cluster.local/ns/shop/sa/web", "https://example.org/"}}) {
        const Attacker attacker(true);
        LeafOptions leaf;
        leaf.uris = uris;
        attacker.use(ca.issue(leaf));
        EXPECT_EQ(attack(attacker, server).reason, Failure::kBadIdentity) << uris.size();
    }
}

TEST(Attack, CertificateOfAnAuthority) {
    const Authority ca;
    const Attacker attacker(true);
    LeafOptions leaf;
    leaf.is_ca = true;
    attacker.use(ca.issue(leaf));
    EXPECT_EQ(attack(attacker, ca.context()).reason, Failure::kBadIdentity);
}

TEST(Attack, CertificateForServersUsedByAClient) {
    const Authority ca;
    const Attacker attacker(true);
    LeafOptions leaf;
    leaf.extended_key_usage = "serverAuth";
    attacker.use(ca.issue(leaf));
    EXPECT_EQ(attack(attacker, ca.context()).reason, Failure::kBadCertificate);
}

TEST(Attack, WeakKey) {
    const Authority ca;
    const Attacker attacker(true);
    LeafOptions leaf;
    leaf.rsa_bits = 1024;
    attacker.use(ca.issue(leaf));
    EXPECT_EQ(attack(attacker, ca.context()).reason, Failure::kBadCertificate);
}

TEST(Attack, OlderTls) {
    const Authority ca;
    const Attacker attacker(true);
    attacker.use(ca.issue());
    SSL_CTX_set_max_proto_version(attacker.context.get(), TLS1_2_VERSION);
    EXPECT_EQ(attack(attacker, ca.context()).reason, Failure::kProtocolVersion);
}

TEST(Attack, NoAlpnOrAnother) {
    const Authority ca;
    for (const std::string& protocols : {std::string(), std::string("\x02h2")}) {
        Attacker attacker(true);
        attacker.context.reset(SSL_CTX_new(TLS_client_method()));
        if (!protocols.empty()) {
            SSL_CTX_set_alpn_protos(attacker.context.get(), reinterpret_cast<const unsigned char*>(protocols.data()),
                                    static_cast<unsigned int>(protocols.size()));
        }
        attacker.use(ca.issue());
        EXPECT_EQ(attack(attacker, ca.context()).reason, Failure::kNoAlpn) << protocols;
    }
}

TEST(Attack, ForeignCiphersAndGroups) {
    const Authority ca;
    const Attacker group(true);
    group.use(ca.issue());
    SSL_CTX_set1_groups_list(group.context.get(), "P-521");
    EXPECT_EQ(attack(group, ca.context()).reason, Failure::kNoSharedParameters);
    const Attacker cipher(true);
    cipher.use(ca.issue());
    SSL_CTX_set_ciphersuites(cipher.context.get(), "TLS_AES_128_CCM_SHA256");
    EXPECT_EQ(attack(cipher, ca.context()).reason, Failure::kNoSharedParameters);
}

// Bytes that are no TLS, on either side, whole or cut off.
HandshakeFailure feed(const std::string& bytes, bool to_client, bool close) {
    const Authority ca;
    TcpPair sockets;
    EXPECT_EQ(::send(sockets.client.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    if (close) {
        EXPECT_EQ(::shutdown(sockets.client.get(), SHUT_WR), 0);
    }
    auto handshake = to_client ? *Handshake::client(ca.context(), sockets.server.get(), {test::anybody, {}, {}})
                               : *Handshake::server(ca.context(), sockets.server.get(), {test::anybody});
    Step step = Step::kWantRead;
    EXPECT_TRUE(test::eventually([&] { return (step = handshake.step()) == Step::kFailed; }));
    return handshake.failure();
}

TEST(Attack, Garbage) {
    for (const bool client : {false, true}) {
        EXPECT_EQ(feed("GET / HTTP/1.1\r\nHost: example\r\n\r\n", client, false).reason, Failure::kGarbage);
        EXPECT_EQ(feed(std::string(200, '\0'), client, false).reason, Failure::kGarbage);
        EXPECT_EQ(feed(std::string("\x16\x03\x01\x00\x04\x0e\x00\x00\x00", 9), client, false).reason,
                  Failure::kGarbage);
        EXPECT_EQ(feed(std::string("\x17\x03\x03\x00\x14", 5) + std::string(20, 'x'), client, false).reason,
                  Failure::kGarbage);
        EXPECT_EQ(feed(std::string("\x16\x03\x01\x02\x00\x01", 6), client, true).reason, Failure::kEof) << "cut off";
        EXPECT_EQ(feed("", client, true).reason, Failure::kEof);
    }
}

TEST(Attack, AlertAndReset) {
    EXPECT_EQ(feed(std::string("\x15\x03\x03\x00\x02\x02\x28", 7), true, false).alert, 40);
    const Authority ca;
    TcpPair sockets;
    auto handshake = *Handshake::server(ca.context(), sockets.server.get(), {test::anybody});
    EXPECT_EQ(handshake.step(), Step::kWantRead);
    const linger now{1, 0};
    (void)::setsockopt(sockets.client.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    sockets.client.reset();
    EXPECT_TRUE(test::eventually([&] { return handshake.step() == Step::kFailed; }));
    EXPECT_EQ(handshake.failure().reason, Failure::kReset);
}

TEST(Attack, Silence) {
    const Authority ca;
    const TcpPair sockets;
    auto handshake = *Handshake::server(ca.context(), sockets.server.get(), {test::anybody});
    EXPECT_EQ(handshake.step(), Step::kWantRead);
    handshake.time_out();
    EXPECT_EQ(handshake.step(), Step::kFailed);
    EXPECT_EQ(handshake.failure().reason, Failure::kTimeout);
}

// The first flight of an honest client, sent again by somebody who only listened.
TEST(Attack, ReplayedFirstFlight) {
    const Authority ca;
    const auto client = ca.context();
    const auto server = ca.context();
    (void)test::secure(client, server, "db");
    const auto first_flight = [&](const std::string& key) {
        TcpPair sockets;
        auto c = *Handshake::client(client, sockets.client.get(), {test::anybody, {}, key});
        EXPECT_EQ(c.step(), Step::kWantRead);
        std::array<char, 8192> bytes{};
        const auto size = ::recv(sockets.server.get(), bytes.data(), bytes.size(), 0);
        return std::string(bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
    };
    const auto flight = first_flight("db");
    ASSERT_GT(flight.size(), first_flight("").size() + 32) << "there is a ticket in it";
    TcpPair sockets;
    ASSERT_EQ(::send(sockets.client.get(), flight.data(), flight.size(), 0), static_cast<ssize_t>(flight.size()));
    auto s = *Handshake::server(server, sockets.server.get(), {test::anybody});
    ASSERT_NE(test::wait_for(sockets.server.get(), POLLIN), 0);
    EXPECT_EQ(s.step(), Step::kWantRead) << "the server wants a Finished, which needs the client's secrets";
    sockets.client.reset();
    EXPECT_TRUE(test::eventually([&] { return s.step() == Step::kFailed; }));
}

TEST(Context, RefusesCredentialsThatDoNotFit) {
    const Authority ca;
    auto other_key = ca.credentials();
    other_key.key = ca.issue().key;
    EXPECT_FALSE(Context::create(other_key).has_value());
    EXPECT_FALSE(Context::create({}).has_value());
    auto no_bundle = ca.credentials();
    no_bundle.roots.clear();
    EXPECT_FALSE(Context::create(no_bundle).has_value());
    LeafOptions nobody;
    nobody.uris.clear();
    EXPECT_FALSE(Context::create(ca.credentials(nobody)).has_value());
    auto empty = ca.credentials();
    empty.roots["partner.example"];
    EXPECT_FALSE(Context::create(empty).has_value());
}

TEST(Credentials, ComeFromPem) {
    const Authority ca(true);
    const auto credentials = ca.credentials();
    std::string pem;
    for (const auto& certificate : credentials.chain) {
        pem += test::pem_of(certificate.get());
    }
    const auto chain = certificates_from_pem(pem);
    ASSERT_TRUE(chain.has_value()) << chain.error().message();
    EXPECT_EQ(chain->size(), 2U);
    EXPECT_EQ(spiffe_id_of((*chain)[0].get())->service_account, "web");
    EXPECT_EQ(serial_of((*chain)[0].get()), serial_of(credentials.chain[0].get()));
    EXPECT_TRUE(key_from_pem(test::pem_of(credentials.key.get())).has_value());
    EXPECT_FALSE(key_from_pem("nothing").has_value());
    EXPECT_FALSE(certificates_from_pem("").has_value());
    EXPECT_FALSE(certificates_from_pem(pem.substr(0, pem.size() - 60)).has_value()) << "the second one is cut off";
}

} // namespace
} // namespace weft::ktls
