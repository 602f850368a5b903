// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What protects the records of one connection: cipher, traffic secrets and record numbers, and the keys that follow
// from them (RFC 8446, 7.1 to 7.3). Secrets wipe themselves.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "weft/base/result.hpp"

namespace weft::ktls {

/// The three ciphers of TLS 1.3 that Weft speaks.
enum class Cipher : std::uint8_t { kAes128Gcm, kAes256Gcm, kChaCha20Poly1305 };

/// "TLS_AES_128_GCM_SHA256"
std::string_view cipher_name(Cipher cipher);
/// From a name as above; nullopt for any other cipher.
std::optional<Cipher> cipher_from_name(std::string_view name);
/// The ciphers, the one that is fastest on this CPU first.
std::array<Cipher, 3> preferred_ciphers();

/// Overwrites memory in a way that compilers keep.
void wipe(std::span<std::uint8_t> bytes) noexcept;

/// Up to `Size` secret bytes; copies are wiped like the original.
template <std::size_t Size>
class SecretBytes {
public:
    SecretBytes() = default;
    /// Takes at most Size bytes.
    explicit SecretBytes(std::span<const std::uint8_t> bytes) : size_(bytes.size() < Size ? bytes.size() : Size) {
        for (std::size_t i = 0; i < size_; ++i) {
            bytes_[i] = bytes[i];
        }
    }
    SecretBytes(const SecretBytes&) = default;
    SecretBytes& operator=(const SecretBytes&) = default;
    ~SecretBytes() { wipe(bytes_); }

    [[nodiscard]] std::span<const std::uint8_t> view() const { return {bytes_.data(), size_}; }
    [[nodiscard]] std::span<std::uint8_t> fill(std::size_t size) {
        size_ = size < Size ? size : Size;
        return {bytes_.data(), size_};
    }
    [[nodiscard]] std::size_t size() const { return size_; }

private:
    std::array<std::uint8_t, Size> bytes_{};
    std::size_t size_ = 0;
};

/// 32 or 48 bytes, as the cipher's hash says.
using TrafficSecret = SecretBytes<48>;

/// What a cipher works with.
struct TrafficKey {
    SecretBytes<32> key;
    SecretBytes<12> iv;
};

/// One direction of a connection: the secret, and the number of the next record under it.
struct Direction {
    TrafficSecret secret;
    std::uint64_t sequence = 0;
};

/// Both directions as this end sees them.
struct Traffic {
    Cipher cipher = Cipher::kAes128Gcm;
    Direction send;
    Direction receive;
};

/// HKDF-Expand-Label(secret, label, "", length) of RFC 8446, 7.1. Error: EINVAL for lengths that the hash cannot give.
Result<> expand_label(Cipher cipher, std::span<const std::uint8_t> secret, std::string_view label,
                      std::span<std::uint8_t> out);
/// Key and iv of a traffic secret.
Result<TrafficKey> derive_key(Cipher cipher, const TrafficSecret& secret);
/// The secret after a KeyUpdate.
Result<TrafficSecret> next_secret(Cipher cipher, const TrafficSecret& secret);

} // namespace weft::ktls
