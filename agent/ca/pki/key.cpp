// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Keys by OpenSSL's EVP calls.
#include "agent/ca/pki/key.hpp"

#include <array>

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

namespace weft::pki {
namespace {

std::string hex(const unsigned char* bytes, std::size_t size) {
    std::string text;
    text.reserve(size * 2);
    for (std::size_t i = 0; i < size; ++i) {
        text += fmt::format("{:02x}", bytes[i]);
    }
    return text;
}

} // namespace

std::string openssl_reason() {
    const auto code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) {
        return "unknown";
    }
    const char* reason = ERR_reason_error_string(code);
    return reason != nullptr ? reason : fmt::format("OpenSSL error {:x}", code);
}

Result<OsslPtr<EVP_PKEY>> new_key() {
    OsslPtr<EVP_PKEY> key(EVP_EC_gen("P-256"));
    if (!key) {
        return failure(EIO, "make a private key: {}", openssl_reason());
    }
    return key;
}

Result<std::string> pem_of(EVP_PKEY* key) {
    const OsslPtr<BIO> bio(BIO_new(BIO_s_secmem()));
    if (!bio || PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) != 1) {
        return failure(EIO, "write a private key: {}", openssl_reason());
    }
    char* data = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &data);
    return std::string(data, static_cast<std::size_t>(size));
}

Result<std::string> public_key_hash(EVP_PKEY* key) {
    unsigned char* der = nullptr;
    const int size = i2d_PUBKEY(key, &der);
    if (size <= 0) {
        return failure(EIO, "encode a public key: {}", openssl_reason());
    }
    auto text = sha256_hex({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    return text;
}

Result<> check_key_type(EVP_PKEY* key) {
    std::array<char, 64> group{};
    std::size_t size = 0;
    if (EVP_PKEY_is_a(key, "EC") != 1) {
        const char* name = EVP_PKEY_get0_type_name(key);
        return invalid("the key is {}: use ECDSA on P-256 or P-384", name != nullptr ? name : "of an unknown type");
    }
    if (EVP_PKEY_get_group_name(key, group.data(), group.size(), &size) != 1) {
        ERR_clear_error();
        return invalid("the key is on an unnamed curve: use P-256 or P-384");
    }
    const std::string_view name(group.data(), size);
    if (name != "prime256v1" && name != "P-256" && name != "secp384r1" && name != "P-384") {
        return invalid("the key is on the curve {}: use P-256 or P-384", name);
    }
    return {};
}

std::string sha256_hex(std::string_view bytes) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
    SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
    return hex(digest.data(), digest.size());
}

Result<std::string> random_hex(std::size_t size) {
    std::string bytes(size, '\0');
    auto* data = reinterpret_cast<unsigned char*>(bytes.data());
    if (RAND_bytes(data, static_cast<int>(size)) != 1) {
        return failure(EIO, "random bytes: {}", openssl_reason());
    }
    return hex(data, size);
}

} // namespace weft::pki
