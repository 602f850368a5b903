// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Keys for test connections, and records made by hand.
#include "tests/net/ktls/kernel.hpp"

#include <sys/socket.h>
#include <sys/utsname.h>

#include <cstdio>

#include <gtest/gtest.h>
#include <openssl/rand.h>

#include "weft/ktls/install.hpp"
#include "weft/ktls/openssl_ptr.hpp"

namespace weft::ktls::test {
namespace {

TrafficSecret random_secret(Cipher cipher) {
    TrafficSecret secret;
    const auto bytes = secret.fill(cipher == Cipher::kAes256Gcm ? 48 : 32);
    EXPECT_EQ(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())), 1);
    return secret;
}

Traffic random_traffic(Cipher cipher) {
    return {cipher, {random_secret(cipher), 0}, {random_secret(cipher), 0}};
}

void install_or_fail(int fd, const Traffic& traffic) {
    const auto result = install(fd, traffic);
    EXPECT_TRUE(result.has_value()) << (result ? "" : install_error_name(result.error().error));
}

} // namespace

KernelPair::KernelPair(Cipher cipher, int mss) : TcpPair(mss), traffic(random_traffic(cipher)) {
    install_or_fail(client.get(), traffic);
    install_or_fail(server.get(), {cipher, traffic.receive, traffic.send});
}

RawPair::RawPair(Cipher cipher) : traffic(random_traffic(cipher)) {
    install_or_fail(client.get(), traffic);
}

std::vector<std::uint8_t> RawPair::seal(std::span<const std::uint8_t> plain, std::uint8_t type, std::size_t padding) {
    const auto key = *derive_key(traffic.cipher, traffic.receive.secret);
    std::array<std::uint8_t, 12> nonce{};
    std::ranges::copy(key.iv.view(), nonce.begin());
    for (std::size_t i = 0; i < 8; ++i) {
        nonce[11 - i] = static_cast<std::uint8_t>(nonce[11 - i] ^ (sequence_ >> (8 * i)));
    }
    ++sequence_;
    std::vector<std::uint8_t> inner(plain.begin(), plain.end());
    inner.push_back(type);
    inner.resize(inner.size() + padding);
    const auto length = inner.size() + 16;
    std::vector<std::uint8_t> record = {23, 3, 3, static_cast<std::uint8_t>(length >> 8),
                                        static_cast<std::uint8_t>(length)};
    record.resize(5 + length);
    const EVP_CIPHER* cipher = traffic.cipher == Cipher::kAes128Gcm   ? EVP_aes_128_gcm()
                               : traffic.cipher == Cipher::kAes256Gcm ? EVP_aes_256_gcm()
                                                                      : EVP_chacha20_poly1305();
    EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
    int done = 0;
    EVP_EncryptInit_ex(context, cipher, nullptr, key.key.view().data(), nonce.data());
    EVP_EncryptUpdate(context, nullptr, &done, record.data(), 5);
    EVP_EncryptUpdate(context, record.data() + 5, &done, inner.data(), static_cast<int>(inner.size()));
    EVP_EncryptFinal_ex(context, record.data() + 5 + done, &done);
    EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, record.data() + 5 + inner.size());
    EVP_CIPHER_CTX_free(context);
    return record;
}

void RawPair::deliver(std::span<const std::uint8_t> plain, std::uint8_t type, std::size_t padding) {
    const auto record = seal(plain, type, padding);
    EXPECT_EQ(::send(server.get(), record.data(), record.size(), MSG_NOSIGNAL), static_cast<ssize_t>(record.size()));
}

std::pair<int, int> kernel_version() {
    utsname name{};
    std::pair<int, int> version;
    EXPECT_EQ(::uname(&name), 0);
    EXPECT_EQ(std::sscanf(name.release, "%d.%d", &version.first, &version.second), 2); // NOLINT(cert-err34-c)
    return version;
}

} // namespace weft::ktls::test
