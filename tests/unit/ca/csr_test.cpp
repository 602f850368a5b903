// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Requests as honest, careless and hostile nodes send them.
#include "agent/ca/pki/csr.hpp"

#include <array>
#include <random>

#include <gtest/gtest.h>
#include <openssl/rsa.h>

#include "agent/ca/pki/certificate.hpp"
#include "agent/ca/pki/key.hpp"

namespace weft::pki {
namespace {

constexpr const char* kWeb = "spiffe://cluster.local/ns/shop/sa/web";

/// A request with any subject alternative names, as OpenSSL's configuration writes them; none for "".
std::string request(EVP_PKEY* key, const std::string& names, EVP_PKEY* signer = nullptr) {
    const Owner<X509_REQ> made(X509_REQ_new());
    X509_REQ_set_pubkey(made.get(), key);
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(made.get()), "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("admin"), -1, -1, 0);
    const Owner<STACK_OF(X509_EXTENSION)> list(sk_X509_EXTENSION_new_null());
    if (!names.empty()) {
        sk_X509_EXTENSION_push(list.get(), X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str()));
    }
    sk_X509_EXTENSION_push(list.get(), X509V3_EXT_conf_nid(nullptr, nullptr, NID_basic_constraints, "CA:TRUE"));
    X509_REQ_add_extensions(made.get(), list.get());
    X509_REQ_sign(made.get(), signer != nullptr ? signer : key, EVP_sha256());
    unsigned char* der = nullptr;
    const int size = i2d_X509_REQ(made.get(), &der);
    std::string bytes(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
    OPENSSL_free(der);
    return bytes;
}

std::string refusal(const std::string& der) {
    const auto parsed = parse_csr(der);
    return parsed ? "accepted" : parsed.error().message();
}

TEST(Csr, ReadsWhatItMakes) {
    const auto key = new_key();
    const auto der = make_csr(key->get(), kWeb);
    ASSERT_TRUE(der.has_value());
    const auto parsed = parse_csr(*der);
    ASSERT_TRUE(parsed.has_value()) << parsed.error().message();
    EXPECT_EQ(parsed->uri, kWeb);
    EXPECT_EQ(EVP_PKEY_eq(parsed->key.get(), key->get()), 1);
}

TEST(Csr, OnlyUriAndKeyAreTaken) {
    const auto key = new_key();
    // Subject "admin" and CA:TRUE are asked for, and have no way into the result.
    EXPECT_EQ(parse_csr(request(key->get(), std::string("URI:") + kWeb))->uri, kWeb);
}

TEST(Csr, RefusesOtherThanOneUri) {
    const auto key = new_key();
    const std::string uri = std::string("URI:") + kWeb;
    EXPECT_NE(refusal(request(key->get(), "")).find("subject alternative name"), std::string::npos);
    EXPECT_NE(refusal(request(key->get(), uri + ",URI:spiffe://cluster.local/ns/shop/sa/admin")).find("2 names"),
              std::string::npos);
    EXPECT_NE(refusal(request(key->get(), uri + ",DNS:bank.example")).find("2 names"), std::string::npos);
    EXPECT_NE(refusal(request(key->get(), uri + ",IP:10.0.0.1")).find("2 names"), std::string::npos);
    EXPECT_NE(refusal(request(key->get(), "DNS:bank.example")).find("no URI"), std::string::npos);
    EXPECT_NE(refusal(request(key->get(), "email:a@b.example")).find("no URI"), std::string::npos);
}

TEST(Csr, RefusesAForeignKey) {
    const auto key = new_key();
    const auto thief = new_key();
    EXPECT_NE(refusal(request(key->get(), std::string("URI:") + kWeb, thief->get())).find("signature"),
              std::string::npos);
}

TEST(Csr, RefusesOtherKeyTypes) {
    const OsslPtr<EVP_PKEY> rsa(EVP_RSA_gen(2048));
    const OsslPtr<EVP_PKEY> small(EVP_EC_gen("secp224r1"));
    const OsslPtr<EVP_PKEY> larger(EVP_EC_gen("P-384"));
    const std::string uri = std::string("URI:") + kWeb;
    EXPECT_NE(refusal(request(rsa.get(), uri)).find("RSA"), std::string::npos);
    EXPECT_NE(refusal(request(small.get(), uri)).find("secp224r1"), std::string::npos);
    EXPECT_EQ(refusal(request(larger.get(), uri)), "accepted");
}

TEST(Csr, RefusesControlBytesLengthAndWhatFollows) {
    const auto key = new_key();
    EXPECT_NE(refusal(*make_csr(key->get(), std::string_view("spiffe://a/ns/b/sa/c\0x", 22))).find("bytes"),
              std::string::npos);
    EXPECT_NE(refusal(*make_csr(key->get(), "spiffe://a/ns/b/sa/c\n{\"event\":\"issued\"}")).find("bytes"),
              std::string::npos);
    EXPECT_NE(refusal(*make_csr(key->get(), kWeb) + "x").find("1 bytes follow"), std::string::npos);
    EXPECT_EQ(parse_csr(std::string(kMaxCsr + 1, 'x')).error().code(), EMSGSIZE);
    EXPECT_FALSE(parse_csr("").has_value());
}

TEST(Csr, MutationsNeverCrashAndNeverChangeTheName) {
    const auto key = new_key();
    const auto good = *make_csr(key->get(), kWeb);
    std::mt19937 random(20240517);
    std::size_t refused = 0;
    constexpr std::size_t kRounds = 3000;
    for (std::size_t round = 0; round < kRounds; ++round) {
        auto bytes = good;
        switch (round % 4) {
        case 0:
            bytes[random() % bytes.size()] = static_cast<char>(random());
            break;
        case 1:
            bytes.resize(random() % bytes.size());
            break;
        case 2:
            bytes.insert(random() % bytes.size(), 1 + random() % 8, static_cast<char>(random()));
            break;
        default:
            for (int i = 0; i < 5; ++i) {
                bytes[random() % bytes.size()] ^= static_cast<char>(1U << (random() % 8));
            }
        }
        const auto parsed = parse_csr(bytes);
        if (!parsed) {
            EXPECT_FALSE(parsed.error().message().empty());
            ++refused;
        } else {
            EXPECT_EQ(bytes, good) << "the signature covers every byte";
        }
    }
    EXPECT_GT(refused, kRounds * 9 / 10);
}

} // namespace
} // namespace weft::pki
