// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Changing keys of carried connections, on kernels that can; on others that nobody believes they can. In guests only.
#include <future>

#include <gtest/gtest.h>

#include "tests/net/ktls/kernel_carried.hpp"
#include "tests/net/ktls/pattern.hpp"
#include "weft/ktls/install.hpp"
#include "weft/ktls/probe.hpp"
#include "weft/ktls/rekey.hpp"

namespace weft::ktls {
namespace {

using test::End;
using test::Ending;
using test::kCarriedId;
using test::KernelCarried;
using test::kPatience;
using test::read_pattern;
using test::Relay;
using test::write_pattern;
using test::Writer;

constexpr std::uint64_t kMiB = 1 << 20;

// What the agent does with a connection that has to change keys.
void with_held(Relay& relay, const std::function<void(int fd)>& change) {
    ASSERT_TRUE(relay.client().hold(kCarriedId).has_value());
    auto held = relay.client().await(WEFT_RELAY_HOLD, kPatience);
    ASSERT_TRUE(held.has_value()) << held.error().message();
    ASSERT_EQ(held->head.status, WEFT_RELAY_OK);
    ASSERT_TRUE(held->peer.valid());
    change(held->peer.get());
    held->peer.reset();
    ASSERT_TRUE(relay.client().go_on(kCarriedId).has_value());
    ASSERT_EQ(relay.client().await(WEFT_RELAY_GO_ON, kPatience)->head.status, WEFT_RELAY_OK);
}

// The peer's view of the same secrets.
Traffic mirrored(const Traffic& traffic) {
    return {traffic.cipher, traffic.receive, traffic.send};
}

TEST(KernelRekey, OldKernelsSaySo) {
    if (probe_kernel().rekey) {
        const test::KernelPair pair;
        auto traffic = pair.traffic;
        EXPECT_TRUE(update_send_key(pair.client.get(), traffic).has_value());
        return;
    }
    const test::KernelPair pair;
    const auto next = next_secret(pair.traffic.cipher, pair.traffic.send.secret);
    const auto result = rekey_send(pair.client.get(), pair.traffic.cipher, *next);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().error, InstallError::kInstalled);
}

TEST(KernelRekey, ThePeerChangesItsKey) {
    if (!probe_kernel().rekey) {
        return; // WhatIsNoDataEndsTheConnection covers what happens there
    }
    for (const auto cipher : preferred_ciphers()) {
        Relay relay;
        const KernelCarried c(relay, cipher, WEFT_RELAY_REKEY);
        auto ours = c.back.traffic;
        auto theirs = mirrored(ours);
        std::uint64_t offset = 0;
        for (int i = 0; i < 4; ++i) {
            ASSERT_EQ(write_pattern(c.peer(), 100000, {.ending = Ending::kNone, .offset = offset}), 0);
            const auto changed = update_send_key(c.peer(), theirs, i % 2 == 1);
            ASSERT_TRUE(changed.has_value()) << changed.error().message();
            // Under the new key already, and before anybody on our side has seen the old one go.
            ASSERT_EQ(write_pattern(c.peer(), 50000, {.ending = Ending::kNone, .offset = offset + 100000}), 0);
            const auto event = relay.event(kCarriedId);
            EXPECT_EQ(event.reason, WEFT_RELAY_REASON_KEY_UPDATE);
            EXPECT_EQ(event.state, WEFT_RELAY_CARRIED);
            EXPECT_EQ(event.detail, static_cast<std::uint32_t>(i % 2));
            if (i == 2) {
                relay.kill_child(); // the next one must know that there is a key to wait for
            }
            with_held(relay, [&](int fd) {
                const auto result = update_receive_key(fd, ours);
                EXPECT_TRUE(result.has_value()) << result.error().message();
            });
            const auto got = read_pattern(c.app(), 150000, {.until_end = false, .offset = offset});
            ASSERT_TRUE(got.intact(150000)) << cipher_name(cipher) << ' ' << got.text();
            offset += 150000;
        }
    }
}

TEST(KernelRekey, WeChangeOurKeyAtTheLimitUnderLoad) {
    if (!probe_kernel().rekey) {
        return; // there the limit warns or closes, see Relay.TellsOfKeyLimits
    }
    Relay relay;
    const KernelCarried c(relay, Cipher::kAes128Gcm, WEFT_RELAY_REKEY, kMiB);
    auto ours = c.back.traffic;
    auto theirs = mirrored(ours);
    int changes = 0;
    auto at_peer = std::async(std::launch::async, [&] {
        return read_pattern(c.peer(), 0, {.tls = true}, [&] {
            const auto result = update_receive_key(c.peer(), theirs);
            EXPECT_TRUE(result.has_value()) << result.error().message();
            ++changes;
        });
    });
    Writer out(c.app(), 8 * kMiB);
    while (at_peer.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready) {
        const auto message = relay.client().receive();
        ASSERT_TRUE(message.has_value());
        if (*message && (*message)->head.op == WEFT_RELAY_EVENT &&
            (*message)->entries[0].reason == WEFT_RELAY_REASON_KEY_LIMIT) {
            with_held(relay, [&](int fd) {
                EXPECT_TRUE(test::eventually([&] {
                    const auto result = update_send_key(fd, ours);
                    EXPECT_TRUE(result.has_value() || result.error().code() == EAGAIN) << result.error().message();
                    return result.has_value() || result.error().code() != EAGAIN;
                }));
            });
        }
    }
    const auto got = at_peer.get();
    EXPECT_TRUE(got.intact(8 * kMiB)) << got.text();
    EXPECT_EQ(got.end, End::kCloseNotify);
    EXPECT_GE(changes, 3);
}

} // namespace
} // namespace weft::ktls
