// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Connections whose records the running kernel encrypts. For tests that run in guests: where the kernel has no TLS they
// fail, as such a guest is not what it was booted for.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/net/ktls/streams.hpp"
#include "weft/ktls/traffic.hpp"

namespace weft::ktls::test {

/// One TLS connection without a handshake: both ends have keys that nobody negotiated.
struct KernelPair : TcpPair {
    explicit KernelPair(Cipher cipher = Cipher::kAes128Gcm, int mss = 0);
    Traffic traffic; ///< as `client` sees it
};

/// The same with kTLS only at `client`; what goes to `server` is raw, and records for `client` are made by hand.
struct RawPair : TcpPair {
    explicit RawPair(Cipher cipher = Cipher::kAes128Gcm);
    Traffic traffic; ///< as `client` sees it
    /// The next record from the server's end: `padding` zero bytes behind the type, as RFC 8446 allows.
    std::vector<std::uint8_t> seal(std::span<const std::uint8_t> plain, std::uint8_t type, std::size_t padding = 0);
    /// Seals and sends.
    void deliver(std::span<const std::uint8_t> plain, std::uint8_t type, std::size_t padding = 0);

private:
    std::uint64_t sequence_ = 0;
};

/// Whole number of a running kernel as "6.12": for tests that say what a kernel is known to do.
std::pair<int, int> kernel_version();

} // namespace weft::ktls::test
