// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The key schedule from traffic secrets on: RFC 8446, 7.1 and 7.3.
#include "weft/ktls/traffic.hpp"

#include <cstring>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#include <asm/hwcap.h>
#endif

namespace weft::ktls {
namespace {

constexpr std::string_view kPrefix = "tls13 ";
constexpr std::size_t kIvSize = 12;

struct Parameters {
    std::string_view name;
    std::size_t key_size;
    const EVP_MD* (*hash)();
};

const Parameters& parameters(Cipher cipher) {
    static const std::array<Parameters, 3> table = {{{"TLS_AES_128_GCM_SHA256", 16, EVP_sha256},
                                                     {"TLS_AES_256_GCM_SHA384", 32, EVP_sha384},
                                                     {"TLS_CHACHA20_POLY1305_SHA256", 32, EVP_sha256}}};
    return table[static_cast<std::size_t>(cipher)];
}

// AES-GCM needs both AES rounds and carry-less multiplication to be the faster one.
bool cpu_has_aes() {
#if defined(__x86_64__)
    return __builtin_cpu_supports("aes") != 0 && __builtin_cpu_supports("pclmul") != 0;
#elif defined(__aarch64__)
    return (getauxval(AT_HWCAP) & HWCAP_AES) != 0 && (getauxval(AT_HWCAP) & HWCAP_PMULL) != 0;
#else
    return false;
#endif
}

} // namespace

std::string_view cipher_name(Cipher cipher) {
    return parameters(cipher).name;
}

std::optional<Cipher> cipher_from_name(std::string_view name) {
    for (const auto cipher : {Cipher::kAes128Gcm, Cipher::kAes256Gcm, Cipher::kChaCha20Poly1305}) {
        if (cipher_name(cipher) == name) {
            return cipher;
        }
    }
    return std::nullopt;
}

std::array<Cipher, 3> preferred_ciphers() {
    if (cpu_has_aes()) {
        return {Cipher::kAes128Gcm, Cipher::kAes256Gcm, Cipher::kChaCha20Poly1305};
    }
    return {Cipher::kChaCha20Poly1305, Cipher::kAes128Gcm, Cipher::kAes256Gcm};
}

void wipe(std::span<std::uint8_t> bytes) noexcept {
    OPENSSL_cleanse(bytes.data(), bytes.size());
}

Result<> expand_label(Cipher cipher, std::span<const std::uint8_t> secret, std::string_view label,
                      std::span<std::uint8_t> out) {
    const EVP_MD* const hash = parameters(cipher).hash();
    const auto hash_size = static_cast<std::size_t>(EVP_MD_get_size(hash));
    // One block of HKDF-Expand is enough for every label of TLS 1.3, so more is a mistake of the caller.
    if (out.empty() || out.size() > hash_size || secret.size() != hash_size || label.size() > 64) {
        return invalid("HKDF-Expand-Label: {} bytes from a secret of {} bytes with {}", out.size(), secret.size(),
                       cipher_name(cipher));
    }
    std::array<std::uint8_t, 128> info{};
    std::size_t used = 0;
    const auto put = [&](std::uint8_t byte) { info[used++] = byte; };
    put(0);
    put(static_cast<std::uint8_t>(out.size()));
    put(static_cast<std::uint8_t>(kPrefix.size() + label.size()));
    for (const char c : kPrefix) {
        put(static_cast<std::uint8_t>(c));
    }
    for (const char c : label) {
        put(static_cast<std::uint8_t>(c));
    }
    put(0); // no context
    put(1); // number of the block
    SecretBytes<EVP_MAX_MD_SIZE> block;
    unsigned int size = 0;
    if (HMAC(hash, secret.data(), static_cast<int>(secret.size()), info.data(), used,
             block.fill(EVP_MAX_MD_SIZE).data(), &size) == nullptr) {
        return invalid("HKDF-Expand-Label: OpenSSL cannot compute an HMAC");
    }
    std::memcpy(out.data(), block.view().data(), out.size());
    return {};
}

Result<TrafficKey> derive_key(Cipher cipher, const TrafficSecret& secret) {
    TrafficKey key;
    WEFT_TRY(expand_label(cipher, secret.view(), "key", key.key.fill(parameters(cipher).key_size)));
    WEFT_TRY(expand_label(cipher, secret.view(), "iv", key.iv.fill(kIvSize)));
    return key;
}

Result<TrafficSecret> next_secret(Cipher cipher, const TrafficSecret& secret) {
    TrafficSecret next;
    WEFT_TRY(expand_label(cipher, secret.view(), "traffic upd", next.fill(secret.size())));
    return next;
}

} // namespace weft::ktls
