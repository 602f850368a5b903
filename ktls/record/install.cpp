// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The two system calls that make a TCP socket a TLS socket, and what their errors mean.
#include "weft/ktls/install.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include <linux/tls.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TCP_ULP
#define TCP_ULP 31
#endif

namespace weft::ktls {
namespace {

InstallFailure classify(int code) {
    switch (code) {
    case ENOENT: // no module
    case ENOPROTOOPT:
        return {InstallError::kNoModule, code, true};
    case ENOTCONN:
        return {InstallError::kNotEstablished, code, true};
    case EBUSY:
        return {InstallError::kInstalled, code, true};
    default:
        return {InstallError::kOther, code, true};
    }
}

// Big endian record number, as it stands in the nonce.
void put_sequence(unsigned char* out, std::uint64_t sequence) {
    for (int i = 7; i >= 0; --i) {
        out[i] = static_cast<unsigned char>(sequence);
        sequence >>= 8;
    }
}

template <typename Info>
InstallResult set_key(int fd, int option, std::uint16_t type, const TrafficKey& key, std::uint64_t sequence) {
    Info info{};
    info.info.version = TLS_1_3_VERSION;
    info.info.cipher_type = type;
    std::memcpy(info.key, key.key.view().data(), sizeof info.key);
    // The kernel wants the iv in two parts; of ChaCha20's the first is empty.
    std::memcpy(info.salt, key.iv.view().data(), sizeof info.salt);
    std::memcpy(info.iv, key.iv.view().data() + sizeof info.salt, sizeof info.iv);
    put_sequence(info.rec_seq, sequence);
    const int failed = ::setsockopt(fd, SOL_TLS, option, &info, sizeof info);
    const int code = errno;
    wipe({reinterpret_cast<std::uint8_t*>(&info), sizeof info});
    if (failed == 0) {
        return {};
    }
    InstallFailure failure = classify(code);
    if (code == EINVAL) {
        // The structure is right, so the socket is what the kernel dislikes: it is in a sockmap.
        failure.error = InstallError::kInSockmap;
    } else if (code == ENOENT || code == EOPNOTSUPP) {
        failure.error = InstallError::kUnsupportedCipher; // the ULP is on: what lacks is the cipher's module
    }
    return std::unexpected(failure);
}

InstallResult set_direction(int fd, int option, Cipher cipher, const Direction& direction) {
    const auto key = derive_key(cipher, direction.secret);
    if (!key) {
        return std::unexpected(InstallFailure{InstallError::kOther, key.error().code(), true});
    }
    switch (cipher) {
    case Cipher::kAes128Gcm:
        return set_key<tls12_crypto_info_aes_gcm_128>(fd, option, TLS_CIPHER_AES_GCM_128, *key, direction.sequence);
    case Cipher::kAes256Gcm:
        return set_key<tls12_crypto_info_aes_gcm_256>(fd, option, TLS_CIPHER_AES_GCM_256, *key, direction.sequence);
    case Cipher::kChaCha20Poly1305:
        break;
    }
    return set_key<tls12_crypto_info_chacha20_poly1305>(fd, option, TLS_CIPHER_CHACHA20_POLY1305, *key,
                                                        direction.sequence);
}

} // namespace

std::string_view install_error_name(InstallError error) {
    switch (error) {
    case InstallError::kNoModule:
        return "no-module";
    case InstallError::kNotEstablished:
        return "not-established";
    case InstallError::kInSockmap:
        return "in-sockmap";
    case InstallError::kUnsupportedCipher:
        return "unsupported-cipher";
    case InstallError::kInstalled:
        return "installed";
    case InstallError::kOther:
        break;
    }
    return "other";
}

InstallResult prepare(int fd) {
    if (::setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", sizeof "tls" - 1) == 0 || errno == EEXIST) {
        return {};
    }
    if (errno == EINVAL) {
        return std::unexpected(InstallFailure{InstallError::kInSockmap, EINVAL, true});
    }
    return std::unexpected(classify(errno));
}

InstallResult install(int fd, const Traffic& traffic) {
    if (auto ready = prepare(fd); !ready) {
        return ready;
    }
    if (auto sent = set_direction(fd, TLS_TX, traffic.cipher, traffic.send); !sent) {
        return sent;
    }
    if (auto received = set_direction(fd, TLS_RX, traffic.cipher, traffic.receive); !received) {
        received.error().untouched = false; // what the application writes is encrypted already
        return received;
    }
    return {};
}

InstallResult rekey_send(int fd, Cipher cipher, const TrafficSecret& secret) {
    auto result = set_direction(fd, TLS_TX, cipher, {secret, 0});
    if (!result) {
        result.error().untouched = false;
    }
    return result;
}

InstallResult rekey_receive(int fd, Cipher cipher, const TrafficSecret& secret) {
    auto result = set_direction(fd, TLS_RX, cipher, {secret, 0});
    if (!result) {
        result.error().untouched = false;
    }
    return result;
}

} // namespace weft::ktls
