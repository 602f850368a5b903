// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The key schedule against RFC 8448 and against OpenSSL's own.
#include "weft/ktls/traffic.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

namespace weft::ktls {
namespace {

std::vector<std::uint8_t> unhex(std::string_view text) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; i + 1 < text.size(); i += 3) {
        bytes.push_back(static_cast<std::uint8_t>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16)));
    }
    return bytes;
}

template <typename Span>
std::vector<std::uint8_t> bytes_of(const Span& secret) {
    return {secret.view().begin(), secret.view().end()};
}

// RFC 8448, 3: "Simple 1-RTT Handshake".
TEST(Traffic, MatchesRfc8448) {
    const TrafficSecret server(unhex("a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 "
                                     "82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43 "));
    const auto server_key = derive_key(Cipher::kAes128Gcm, server);
    ASSERT_TRUE(server_key.has_value());
    EXPECT_EQ(bytes_of(server_key->key), unhex("9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56 "));
    EXPECT_EQ(bytes_of(server_key->iv), unhex("cf 78 2b 88 dd 83 54 9a ad f1 e9 84 "));
    const TrafficSecret client(unhex("9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 "
                                     "87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 a5 "));
    const auto client_key = derive_key(Cipher::kAes128Gcm, client);
    ASSERT_TRUE(client_key.has_value());
    EXPECT_EQ(bytes_of(client_key->key), unhex("17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51 "));
    EXPECT_EQ(bytes_of(client_key->iv), unhex("5b 78 92 3d ee 08 57 90 33 e5 23 d9 "));
}

// OpenSSL's TLS13-KDF, which is written independently of ours.
std::vector<std::uint8_t> openssl_expand(const char* hash, std::vector<std::uint8_t> secret, std::string label,
                                         std::size_t size) {
    EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "TLS13-KDF", nullptr);
    EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
    int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
    std::string digest = hash;
    std::string prefix = "tls13 ";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode),
        OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret.data(), secret.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_PREFIX, prefix.data(), prefix.size()),
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_LABEL, label.data(), label.size()),
        OSSL_PARAM_construct_end(),
    };
    std::vector<std::uint8_t> out(size);
    EXPECT_EQ(EVP_KDF_derive(context, out.data(), out.size(), parameters), 1);
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
    return out;
}

TEST(Traffic, AgreesWithOpensslForEveryCipher) {
    for (const auto cipher : {Cipher::kAes128Gcm, Cipher::kAes256Gcm, Cipher::kChaCha20Poly1305}) {
        const bool sha384 = cipher == Cipher::kAes256Gcm;
        std::vector<std::uint8_t> raw(sha384 ? 48 : 32);
        for (std::size_t i = 0; i < raw.size(); ++i) {
            raw[i] = static_cast<std::uint8_t>(i * 7 + 1);
        }
        const auto* hash = sha384 ? "SHA384" : "SHA256";
        const TrafficSecret secret(raw);
        const auto key = derive_key(cipher, secret);
        ASSERT_TRUE(key.has_value());
        EXPECT_EQ(key->key.size(), cipher == Cipher::kAes128Gcm ? 16U : 32U);
        EXPECT_EQ(bytes_of(key->key), openssl_expand(hash, raw, "key", key->key.size()));
        EXPECT_EQ(bytes_of(key->iv), openssl_expand(hash, raw, "iv", 12));
        const auto next = next_secret(cipher, secret);
        ASSERT_TRUE(next.has_value());
        EXPECT_EQ(bytes_of(*next), openssl_expand(hash, raw, "traffic upd", raw.size()));
    }
}

TEST(Traffic, RefusesSecretsOfAnotherHash) {
    const std::vector<std::uint8_t> raw(48);
    EXPECT_FALSE(derive_key(Cipher::kAes128Gcm, TrafficSecret(raw)).has_value());
    EXPECT_FALSE(derive_key(Cipher::kAes256Gcm, TrafficSecret()).has_value());
    EXPECT_FALSE(next_secret(Cipher::kChaCha20Poly1305, TrafficSecret(raw)).has_value());
}

TEST(Traffic, CipherNamesAreReadBack) {
    for (const auto cipher : preferred_ciphers()) {
        EXPECT_EQ(cipher_from_name(cipher_name(cipher)), cipher);
    }
    EXPECT_FALSE(cipher_from_name("TLS_AES_128_CCM_SHA256").has_value());
}

} // namespace
} // namespace weft::ktls
