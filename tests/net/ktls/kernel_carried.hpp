// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// An application, and a peer behind kernel TLS, with weft-relay between them.
#pragma once

#include <gtest/gtest.h>

#include "tests/net/ktls/kernel.hpp"
#include "tests/net/ktls/relay.hpp"

namespace weft::ktls::test {

/// The id of such a connection, as there is one to a relay.
inline constexpr std::uint64_t kCarriedId = 7;

/// Both ends of the TLS connection are the kernel's.
struct KernelCarried {
    explicit KernelCarried(Relay& relay, Cipher cipher = Cipher::kAes128Gcm, std::uint32_t flags = 0,
                           std::uint64_t key_limit = 0)
        : back(cipher) {
        EXPECT_EQ(relay.carry(kCarriedId, front.server, back.client, WEFT_RELAY_PEER_TLS | flags, key_limit),
                  WEFT_RELAY_OK);
    }
    TcpPair front;
    KernelPair back;
    [[nodiscard]] int app() const { return front.client.get(); }
    [[nodiscard]] int peer() const { return back.server.get(); }
};

/// The peer's records are made by hand.
struct RawCarried {
    explicit RawCarried(Relay& relay, std::uint32_t flags = 0) {
        EXPECT_EQ(relay.carry(kCarriedId, front.server, back.client, WEFT_RELAY_PEER_TLS | flags), WEFT_RELAY_OK);
    }
    TcpPair front;
    RawPair back;
    [[nodiscard]] int app() const { return front.client.get(); }
    [[nodiscard]] int peer() const { return back.server.get(); }
};

} // namespace weft::ktls::test
