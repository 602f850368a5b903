// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Changing keys of carried connections, on kernels that can; on others that nobody believes they can. In guests only.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <future>

#include <gtest/gtest.h>

#include "ktls/record/control_record.hpp"
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
using test::KernelPair;
using test::kPatience;
using test::read_pattern;
using test::Relay;
using test::TcpPair;
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

// What arrives waits in the socket, however much of it.
void make_room(int fd) {
    const int bytes = 4 << 20;
    EXPECT_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes), 0);
    EXPECT_EQ(::setsockopt(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, &bytes, sizeof bytes), 0);
}

TEST(KernelRekey, OldKernelsSaySo) {
    if (probe_kernel().rekey) {
        const KernelPair pair;
        auto traffic = pair.traffic;
        EXPECT_TRUE(update_send_key(pair.client.get(), traffic).has_value());
        return;
    }
    const KernelPair pair;
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

// Kernels that change keys hide from poll what waits as soon as a splice has met a KeyUpdate, though the record itself
// was not read yet.
TEST(KernelRekey, PollHidesAKeyUpdateThatASpliceHasMet) {
    if (!probe_kernel().rekey) {
        return; // there poll tells of every record
    }
    const KernelPair pair;
    auto theirs = mirrored(pair.traffic);
    const auto changed = update_send_key(pair.server.get(), theirs);
    ASSERT_TRUE(changed.has_value()) << changed.error().message();
    ASSERT_EQ(test::wait_for(pair.client.get(), POLLIN), POLLIN);
    int ends[2] = {-1, -1};
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd read_end(ends[0]);
    const UniqueFd write_end(ends[1]);
    ASSERT_EQ(::splice(pair.client.get(), nullptr, write_end.get(), nullptr, 1000, SPLICE_F_NONBLOCK), -1);
    ASSERT_EQ(errno, EINVAL);
    EXPECT_EQ(test::wait_for(pair.client.get(), POLLIN, std::chrono::milliseconds(100)) & POLLIN, 0)
        << "this kernel tells of it: the rule below and in docs/ktls.md has lost its reason";
    EXPECT_EQ(take_control(pair.client.get()).found, Found::kKeyUpdate);
}

// Rule: whoever has had its turn goes on without asking poll. A turn of the relay is 16 fillings of three full records;
// a KeyUpdate behind any of its last ones is found all the same.
TEST(KernelRekey, AKeyUpdateAtTheEndOfATurnIsFound) {
    if (!probe_kernel().rekey) {
        return;
    }
    constexpr std::uint64_t kRecord = 16384;
    for (std::uint64_t records = 44; records <= 49; ++records) {
        Relay relay("--threads 1");
        TcpPair front;
        KernelPair back;
        auto ours = back.traffic;
        auto theirs = mirrored(ours);
        make_room(front.client.get());
        make_room(back.client.get());
        const int peer = back.server.get();
        ASSERT_EQ(write_pattern(peer, records * kRecord, {.ending = Ending::kNone, .step = kRecord}), 0);
        ASSERT_TRUE(update_send_key(peer, theirs).has_value());
        ASSERT_EQ(write_pattern(peer, 1000, {.ending = Ending::kNone, .offset = records * kRecord}), 0);
        ASSERT_EQ(relay.carry(kCarriedId, front.server, back.client, WEFT_RELAY_PEER_TLS | WEFT_RELAY_REKEY),
                  WEFT_RELAY_OK);
        ASSERT_EQ(relay.event(kCarriedId).reason, WEFT_RELAY_REASON_KEY_UPDATE) << records << " records";
        with_held(relay, [&](int fd) { EXPECT_TRUE(update_receive_key(fd, ours).has_value()); });
        const auto got = read_pattern(front.client.get(), records * kRecord + 1000, {.until_end = false});
        ASSERT_TRUE(got.intact(records * kRecord + 1000)) << got.text();
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
