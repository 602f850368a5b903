// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One test for each rule of splicing kernel TLS: it fails when weft-relay breaks the rule on a kernel that has the
// oddity. Runs in guests only. docs/ktls.md explains the rules.
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <csignal>
#include <future>

#include <gtest/gtest.h>

#include "tests/net/ktls/kernel_carried.hpp"
#include "tests/net/ktls/pattern.hpp"
#include "weft/ktls/install.hpp"

namespace weft::ktls {
namespace {

using std::chrono::milliseconds;
using test::End;
using test::Ending;
using test::kCarriedId;
using test::KernelCarried;
using test::RawCarried;
using test::read_pattern;
using test::ReadOptions;
using test::Relay;
using test::TcpPair;
using test::write_pattern;
using test::WriteOptions;
using test::Writer;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint8_t kAlert = 21;
constexpr std::uint8_t kHandshake = 22;
constexpr std::uint8_t kData = 23;

std::vector<std::uint8_t> pattern(std::uint64_t offset, std::size_t size) {
    std::vector<std::uint8_t> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = test::pattern_at(offset + i);
    }
    return bytes;
}

// Waits until `bytes` plain bytes can be read, without taking them: what is stuck is never there.
bool arrive(int fd, std::size_t bytes, milliseconds limit) {
    std::vector<char> buffer(bytes);
    std::size_t got = 0;
    return test::eventually(
        [&] {
            const auto n = ::recv(fd, buffer.data(), bytes - got, MSG_DONTWAIT);
            got += n > 0 ? static_cast<std::size_t>(n) : 0;
            return got == bytes;
        },
        limit);
}

// Rule: never SPLICE_F_MORE. Else 6.12 keeps the last record until more data comes, and 6.1 for some 20 ms.
TEST(KernelRules, SmallMessagesAreSentAtOnce) {
    Relay relay;
    const KernelCarried c(relay);
    for (const std::size_t size : {1U, 64U, 1000U, 4096U, 17000U}) {
        const auto bytes = pattern(0, size);
        ASSERT_EQ(::send(c.app(), bytes.data(), size, 0), static_cast<ssize_t>(size));
        EXPECT_TRUE(arrive(c.peer(), size, milliseconds(3000))) << size;
        ASSERT_EQ(::send(c.peer(), bytes.data(), size, 0), static_cast<ssize_t>(size));
        EXPECT_TRUE(arrive(c.app(), size, milliseconds(3000))) << size;
    }
}

// Rule: splice exactly what is in the pipe. With a larger length 6.12 leaves the record open when the pipe holds
// exactly 16 buffers: so many small segments wait while the child is stopped.
TEST(KernelRules, SixteenSegmentsAreSentAtOnce) {
    for (const std::size_t segments : {15U, 16U, 17U, 32U}) {
        Relay relay("--threads 1");
        const KernelCarried c(relay);
        ASSERT_EQ(write_pattern(c.app(), 1, {.ending = Ending::kNone}), 0);
        ASSERT_TRUE(arrive(c.peer(), 1, milliseconds(3000))); // the child is at work, and idle now
        const auto child = static_cast<pid_t>(relay.info().child_pid);
        ASSERT_EQ(::kill(child, SIGSTOP), 0);
        const TcpPair other;
        for (std::size_t i = 0; i < segments; ++i) {
            const auto bytes = pattern(i * 100, 100);
            ASSERT_EQ(::send(c.app(), bytes.data(), bytes.size(), 0), 100);
            // A thread's sockets take their memory from the same page. What is not side by side there is not joined
            // to one buffer when it is spliced.
            ASSERT_EQ(::send(other.client.get(), bytes.data(), bytes.size(), 0), 100);
        }
        ASSERT_EQ(::kill(child, SIGCONT), 0);
        EXPECT_TRUE(arrive(c.peer(), segments * 100, milliseconds(3000))) << segments << " segments";
    }
}

// Rule: a splice of 0 may be an empty record, which is no end.
TEST(KernelRules, EmptyRecordsAreNoEnd) {
    Relay relay;
    RawCarried c(relay);
    c.back.deliver({}, kData);
    c.back.deliver(pattern(0, 300), kData);
    for (int i = 0; i < 40; ++i) {
        c.back.deliver({}, kData, static_cast<std::size_t>(i)); // more than one turn of the relay
    }
    c.back.deliver(pattern(300, 700), kData, 9);
    c.back.deliver({}, kData);
    const auto got = read_pattern(c.app(), 1000, {.until_end = false});
    EXPECT_TRUE(got.intact(1000)) << got.text();
    ASSERT_EQ(::send(c.app(), "x", 1, 0), 1) << "the connection lives";
    EXPECT_NE(test::wait_for(c.peer(), POLLIN, milliseconds(3000)), 0);
}

// Rule: EINVAL means a control record: take it out and go on.
TEST(KernelRules, TicketsBetweenDataAreDropped) {
    Relay relay;
    RawCarried c(relay);
    const std::array<std::uint8_t, 200> ticket = {4, 0, 0, 196};
    for (std::uint64_t i = 0; i < 5; ++i) {
        c.back.deliver(pattern(i * 100, 100), kData);
        c.back.deliver(ticket, kHandshake);
    }
    const auto got = read_pattern(c.app(), 500, {.until_end = false});
    EXPECT_TRUE(got.intact(500)) << got.text();
}

// close_notify ends the direction even when no FIN follows, and the other one goes on.
TEST(KernelRules, CloseNotifyIsTheEnd) {
    Relay relay;
    RawCarried c(relay);
    c.back.deliver(pattern(0, 1000), kData);
    c.back.deliver(std::array<std::uint8_t, 2>{1, 0}, kAlert);
    const auto got = read_pattern(c.app(), 0);
    EXPECT_TRUE(got.intact(1000)) << got.text();
    EXPECT_EQ(got.end, End::kFin);
    // The alert is read once and never comes again: the byte in shared memory remembers it.
    relay.kill_child();
    EXPECT_EQ(relay.entry(kCarriedId)->peer_ended, 1);
    ASSERT_EQ(write_pattern(c.app(), 5000), 0);
    EXPECT_EQ(relay.event(kCarriedId).reason, WEFT_RELAY_REASON_FINISHED);
}

// Rule: FIN without close_notify is truncation, and the application must not take it for an end.
TEST(KernelRules, TruncationResetsTheApplication) {
    Relay relay;
    RawCarried c(relay);
    c.back.deliver(pattern(0, 1000), kData);
    ASSERT_TRUE(read_pattern(c.app(), 1000, {.until_end = false}).intact(1000));
    ASSERT_EQ(::shutdown(c.peer(), SHUT_WR), 0);
    EXPECT_EQ(read_pattern(c.app(), 0).end, End::kReset);
    EXPECT_EQ(relay.event(kCarriedId).reason, WEFT_RELAY_REASON_TRUNCATED);
}

TEST(KernelRules, WhatIsNoDataEndsTheConnection) {
    const std::array<std::uint8_t, 2> fatal = {2, 40};
    const std::array<std::uint8_t, 5> key_update = {24, 0, 0, 1, 0};
    const std::array<std::uint8_t, 40> hello = {1, 0, 0, 36};
    const auto reason_of = [&](std::span<const std::uint8_t> bytes, std::uint8_t type, std::uint32_t& detail) {
        Relay relay;
        RawCarried c(relay);
        c.back.deliver(bytes, type);
        EXPECT_EQ(read_pattern(c.app(), 0).end, End::kReset);
        const auto event = relay.event(kCarriedId);
        detail = event.detail;
        return event.reason;
    };
    std::uint32_t detail = 0;
    EXPECT_EQ(reason_of(fatal, kAlert, detail), WEFT_RELAY_REASON_PEER_ALERT);
    EXPECT_EQ(detail, 40U);
    EXPECT_EQ(reason_of(key_update, kHandshake, detail), WEFT_RELAY_REASON_KEY_UPDATE);
    EXPECT_EQ(reason_of(hello, kHandshake, detail), WEFT_RELAY_REASON_BAD_RECORD);
    Relay relay;
    RawCarried c(relay);
    auto damaged = c.back.seal(pattern(0, 100), kData);
    damaged[20] = static_cast<std::uint8_t>(damaged[20] ^ 1);
    ASSERT_EQ(::send(c.peer(), damaged.data(), damaged.size(), 0), static_cast<ssize_t>(damaged.size()));
    EXPECT_EQ(read_pattern(c.app(), 0).end, End::kReset);
    EXPECT_EQ(relay.event(kCarriedId).reason, WEFT_RELAY_REASON_BAD_RECORD);
}

// Rule: close_notify can get EAGAIN, and FIN must wait for it. The socket to the peer is full when the relay gets it,
// and the application has ended already.
TEST(KernelRules, CloseNotifyIsNotLostWhenTheBufferIsFull) {
    for (const int buffer : {0, 65536}) {
        Relay relay("--threads 1");
        TcpPair front;
        test::KernelPair back;
        if (buffer != 0) {
            (void)::setsockopt(back.client.get(), SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
        }
        std::uint64_t written = 0;
        do {
            const auto bytes = pattern(written, 60000);
            const auto put = ::send(back.client.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
            written += put > 0 ? static_cast<std::uint64_t>(put) : 0;
        } while (test::wait_for(back.client.get(), POLLOUT, milliseconds(300)) != 0);
        // "Not writable" still leaves room for something small.
        for (auto byte = pattern(written, 1); ::send(back.client.get(), byte.data(), 1, MSG_DONTWAIT) == 1;) {
            byte = pattern(++written, 1);
        }
        ASSERT_EQ(::shutdown(front.client.get(), SHUT_WR), 0);
        ASSERT_EQ(relay.carry(kCarriedId, front.server, back.client, WEFT_RELAY_PEER_TLS), WEFT_RELAY_OK);
        ASSERT_TRUE(
            test::eventually([&] { return relay.entry(kCarriedId).value_or(weft_relay_entry{}).app_ended == 1; }));
        const auto got = read_pattern(back.server.get(), 0, {.tls = true});
        EXPECT_TRUE(got.intact(written)) << got.text();
        EXPECT_EQ(got.end, End::kCloseNotify) << got.text();
    }
}

// Rule: on 6.1 push on every short splice, else a full small send buffer stalls for ever.
TEST(KernelRules, SmallSendBuffersDoNotStall) {
    for (const int buffer : {8192, 20000}) {
        for (const int mss : {1448, 0}) {
            Relay relay;
            TcpPair front;
            test::KernelPair back(Cipher::kAes128Gcm, mss);
            (void)::setsockopt(back.client.get(), SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
            ASSERT_EQ(relay.carry(kCarriedId, front.server, back.client, WEFT_RELAY_PEER_TLS), WEFT_RELAY_OK);
            Writer out(front.client.get(), kMiB);
            const auto got = read_pattern(back.server.get(), 0, {.tls = true, .pause_microseconds = 300});
            EXPECT_TRUE(got.intact(kMiB)) << "SO_SNDBUF " << buffer << " MSS " << mss << ": " << got.text();
            EXPECT_EQ(got.end, End::kCloseNotify);
        }
    }
}

// Rule: TCP_ULP early. After the peer's FIN the kernel refuses it, but keys are still taken.
TEST(KernelRules, TheUlpIsSetBeforeThePeerEnds) {
    for (const bool early : {true, false}) {
        test::RawPair keys; // for its secrets only
        TcpPair sockets;
        if (early) {
            ASSERT_TRUE(prepare(sockets.client.get()).has_value());
            ASSERT_TRUE(prepare(sockets.client.get()).has_value()) << "twice is fine";
        }
        ASSERT_EQ(::shutdown(sockets.server.get(), SHUT_WR), 0);
        ASSERT_NE(test::wait_for(sockets.client.get(), POLLRDHUP), 0);
        const auto result = install(sockets.client.get(), keys.traffic);
        EXPECT_EQ(result.has_value(), early);
        if (!early) {
            EXPECT_EQ(result.error().error, InstallError::kNotEstablished);
            EXPECT_TRUE(result.error().untouched);
        }
    }
}

TEST(KernelRules, HalfClosedTlsDoesNotSpin) {
    Relay relay("--threads 1");
    RawCarried c(relay);
    c.back.deliver(std::array<std::uint8_t, 2>{1, 0}, kAlert);
    ASSERT_EQ(::shutdown(c.peer(), SHUT_WR), 0);
    ASSERT_EQ(read_pattern(c.app(), 0).end, End::kFin);
    const auto child = static_cast<pid_t>(relay.info().child_pid);
    const double before = test::cpu_ms(child);
    (void)::poll(nullptr, 0, 1000); // nothing must happen meanwhile
    EXPECT_LE(test::cpu_ms(child) - before, 200);
}

TEST(KernelRules, StalledReadersStopTheWriterEitherWay) {
    for (const bool to_peer : {true, false}) {
        Relay relay;
        const KernelCarried c(relay);
        const int writer = to_peer ? c.app() : c.peer();
        const int reader = to_peer ? c.peer() : c.app();
        std::uint64_t written = 0;
        while (test::wait_for(writer, POLLOUT, milliseconds(500)) != 0 && written < 128 * kMiB) {
            const auto bytes = pattern(written, 60000);
            const auto put = ::send(writer, bytes.data(), bytes.size(), MSG_DONTWAIT);
            written += put > 0 ? static_cast<std::uint64_t>(put) : 0;
        }
        EXPECT_LT(written, 64 * kMiB);
        EXPECT_LE(relay.info().pipes_used, 1U);
        ASSERT_EQ(write_pattern(writer, 0, {.tls = !to_peer}), 0);
        const auto got = read_pattern(reader, 0, {.tls = to_peer});
        EXPECT_TRUE(got.intact(written)) << got.text();
    }
}

TEST(KernelRules, ResetsTravelBothWays) {
    for (const bool app_resets : {true, false}) {
        Relay relay;
        KernelCarried c(relay);
        ASSERT_EQ(write_pattern(c.app(), 1000, {.ending = Ending::kNone}), 0);
        ASSERT_TRUE(read_pattern(c.peer(), 1000, {.tls = true, .until_end = false}).intact(1000));
        auto& dying = app_resets ? c.front.client : c.back.server;
        test::reset_on_close(dying.get());
        dying.reset();
        const auto seen = read_pattern(app_resets ? c.peer() : c.app(), 0, {.tls = app_resets});
        EXPECT_EQ(seen.end, End::kReset) << seen.text();
        EXPECT_EQ(relay.event(kCarriedId).reason,
                  app_resets ? WEFT_RELAY_REASON_APP_RESET : WEFT_RELAY_REASON_PEER_RESET);
    }
}

} // namespace
} // namespace weft::ktls
