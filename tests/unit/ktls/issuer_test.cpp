// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// An intermediate that both ends have is not sent, and what it forbids is still forbidden.
#include "ktls/tls/issuers.hpp"

#include <ctime>

#include <gtest/gtest.h>

#include "ktls/tls/verify.hpp"
#include "tests/net/ktls/pki.hpp"
#include "tests/net/ktls/streams.hpp"

namespace weft::ktls {
namespace {

using test::Authority;
using test::leaf_of;
using test::secure;

// Certificates that came from the other end. A server's list is without the leaf.
int sent_by_server(test::Secured& pair) {
    return sk_X509_num(SSL_get_peer_cert_chain(pair.client->release().get()));
}

int sent_by_client(test::Secured& pair) {
    const auto ssl = pair.server->release();
    const auto* const rest = SSL_get_peer_cert_chain(ssl.get());
    return 1 + (rest == nullptr ? 0 : sk_X509_num(rest));
}

TEST(Issuer, IsNotSentToThoseWhoHaveIt) {
    const Authority ca(true);
    auto pair = secure(ca.context(leaf_of("web")), ca.context(leaf_of("db")));
    EXPECT_EQ(sent_by_server(pair), 1);
    EXPECT_EQ(sent_by_client(pair), 1);
}

TEST(Issuer, IsSentToThoseWhoHaveAnother) {
    const Authority ca(true);
    const Authority other = ca.sibling();
    const auto web = ca.context(leaf_of("web"));
    const auto db = other.context(leaf_of("db"));
    auto pair = secure(web, db);
    EXPECT_EQ(sent_by_server(pair), 2);
    EXPECT_EQ(sent_by_client(pair), 2);
    pair = secure(db, web);
    EXPECT_EQ(sent_by_server(pair), 2);
    EXPECT_EQ(sent_by_client(pair), 2);
}

// The root would no longer vouch for it in its last hours, so it is asked about each time.
TEST(Issuer, ThatOutlivesItsRootIsSent) {
    const Authority ca = Authority(true).sibling(2 * Authority::kRootSeconds);
    auto pair = secure(ca.context(leaf_of("web")), ca.context(leaf_of("db")));
    EXPECT_EQ(sent_by_server(pair), 2);
    EXPECT_EQ(sent_by_client(pair), 2);
}

TEST(Issuer, OfAnotherRootIsNotAdopted) {
    auto credentials = Authority(true).credentials();
    const OsslPtr<X509_STORE> store(X509_STORE_new());
    X509_STORE_add_cert(store.get(), Authority().root());
    EXPECT_FALSE(adopt_issuer(store.get(), credentials).has_value());
}

// What a resumed session is asked anew: the chain was proven when it was made, the time and the reader go on.
TEST(Resumption, AsksForTheCertificatesTime) {
    const Authority ca;
    const auto verdict = [&](int from, int to) {
        auto options = leaf_of("web");
        options.starts_in_seconds = from;
        options.ends_in_seconds = to;
        return verify_again(ca.issue(options).certificate.get(), {}).failure;
    };
    EXPECT_EQ(verdict(-60, 60), std::nullopt);
    EXPECT_EQ(verdict(-60, -1), Failure::kExpired);
    EXPECT_EQ(verdict(60, 120), Failure::kNotYetValid);
}

class AdoptedIssuer : public ::testing::Test {
protected:
    void SetUp() override {
        for (const auto* domain : {"cluster.local", "partner.example"}) {
            OsslPtr<X509_STORE> store(X509_STORE_new());
            X509_STORE_add_cert(store.get(), ca_.root());
            X509_VERIFY_PARAM_set_flags(X509_STORE_get0_param(store.get()), X509_V_FLAG_PARTIAL_CHAIN);
            ASSERT_TRUE(adopt_issuer(store.get(), ca_.credentials()).has_value());
            stores_[domain] = std::move(store);
        }
    }
    [[nodiscard]] std::optional<Failure> verify(const test::LeafOptions& options) const {
        const auto leaf = ca_.issue(options);
        return verify_peer(stores_, leaf.certificate.get(), nullptr, "ssl_client", {}).failure;
    }

    Authority ca_{true};
    TrustStores stores_;
};

TEST_F(AdoptedIssuer, ProvesALeafAlone) {
    EXPECT_EQ(verify(leaf_of("web")), std::nullopt);
    test::LeafOptions past;
    past.starts_in_seconds = -120;
    past.ends_in_seconds = -60;
    EXPECT_EQ(verify(past), Failure::kExpired);
}

TEST_F(AdoptedIssuer, IsHeldToItsOwnEnd) {
    auto longer = leaf_of("web");
    longer.ends_in_seconds = 2 * Authority::kRootSeconds;
    ASSERT_EQ(verify(longer), std::nullopt);
    // Between its end and its root's.
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(stores_["cluster.local"].get()),
                               std::time(nullptr) + Authority::kRootSeconds - 30);
    EXPECT_EQ(verify(longer), Failure::kExpired);
}

TEST_F(AdoptedIssuer, IsHeldToItsNames) {
    test::LeafOptions foreign;
    foreign.uris = {"spiffe://partner.example/ns/shop/sa/web"};
    EXPECT_EQ(verify(foreign), Failure::kBadCertificate) << "it may sign for cluster.local only";
}

} // namespace
} // namespace weft::ktls
