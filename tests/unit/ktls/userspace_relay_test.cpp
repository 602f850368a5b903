// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The tier without kernel TLS, two relays face to face as on two nodes: application, relay, TLS, relay, application.
#include "weft/ktls/userspace_relay.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <future>

#include <gtest/gtest.h>

#include "tests/net/ktls/pattern.hpp"
#include "tests/net/ktls/pki.hpp"
#include "tests/net/ktls/streams.hpp"
#include "tests/net/ktls/userspace_loop.hpp"

namespace weft::ktls {
namespace {

using test::End;
using test::Ending;
using test::read_pattern;
using test::TcpPair;
using test::UserspaceLoop;
using test::write_pattern;
using test::Writer;

constexpr std::uint64_t kMiB = 1 << 20;

struct Chain {
    explicit Chain(const UserspaceOptions& client = {}, const UserspaceOptions& server = {}, bool rekey = false) {
        const test::Authority ca;
        ContextOptions options;
        options.rekey = rekey;
        auto secured = test::secure(ca.context({}, options), ca.context({}, options));
        left.emplace(secured.client->release(), std::move(front.server), std::move(secured.sockets.client), client);
        right.emplace(secured.server->release(), std::move(back.client), std::move(secured.sockets.server), server);
    }
    TcpPair front;
    TcpPair back;
    std::optional<UserspaceLoop> left;
    std::optional<UserspaceLoop> right;
    [[nodiscard]] int client() const { return front.client.get(); }
    [[nodiscard]] int server() const { return back.server.get(); }
};

// An application on the left, and on the right OpenSSL itself, blocking.
struct Direct {
    explicit Direct(const UserspaceOptions& options = {}) {
        const test::Authority ca;
        secured = test::secure(ca.context(), ca.context());
        peer = secured.server->release();
        left.emplace(secured.client->release(), std::move(front.server), std::move(secured.sockets.client), options);
    }
    test::Secured secured;
    OsslPtr<SSL> peer;
    TcpPair front;
    std::optional<UserspaceLoop> left;
    [[nodiscard]] int client() const { return front.client.get(); }
    [[nodiscard]] int peer_fd() const { return secured.sockets.server.get(); }
};

TEST(UserspaceRelay, CarriesBothWaysAtOnce) {
    Chain c;
    Writer out(c.client(), 64 * kMiB);
    Writer in(c.server(), 64 * kMiB);
    auto at_server = std::async(std::launch::async, [&] { return read_pattern(c.server(), 0); });
    const auto at_client = read_pattern(c.client(), 0);
    EXPECT_TRUE(at_client.intact(64 * kMiB)) << at_client.text();
    const auto other = at_server.get();
    EXPECT_TRUE(other.intact(64 * kMiB)) << other.text();
    EXPECT_EQ(at_client.end, End::kFin);
    EXPECT_EQ(other.end, End::kFin);
    EXPECT_EQ(c.left->finish(), WEFT_RELAY_REASON_FINISHED);
    EXPECT_EQ(c.right->finish(), WEFT_RELAY_REASON_FINISHED);
    EXPECT_EQ(c.left->relay().to_peer(), 64 * kMiB);
    EXPECT_EQ(c.right->relay().to_app(), 64 * kMiB);
}

TEST(UserspaceRelay, OneHalfMayCloseLongBeforeTheOther) {
    for (const bool client_first : {true, false}) {
        Chain c;
        const int first = client_first ? c.client() : c.server();
        const int second = client_first ? c.server() : c.client();
        ASSERT_EQ(write_pattern(first, 100000), 0);
        const auto request = read_pattern(second, 0);
        EXPECT_TRUE(request.intact(100000)) << request.text();
        EXPECT_EQ(request.end, End::kFin);
        Writer answer(second, 3 * kMiB);
        const auto got = read_pattern(first, 0);
        EXPECT_TRUE(got.intact(3 * kMiB)) << got.text();
        EXPECT_EQ(got.end, End::kFin);
        EXPECT_EQ(c.left->finish(), WEFT_RELAY_REASON_FINISHED);
    }
}

TEST(UserspaceRelay, ConnectionsWithoutBytes) {
    Chain c;
    EXPECT_EQ(::shutdown(c.client(), SHUT_WR), 0);
    EXPECT_EQ(read_pattern(c.server(), 0).end, End::kFin);
    EXPECT_EQ(::shutdown(c.server(), SHUT_WR), 0);
    EXPECT_EQ(read_pattern(c.client(), 0).end, End::kFin);
    EXPECT_EQ(c.left->finish(), WEFT_RELAY_REASON_FINISHED);
    EXPECT_EQ(c.right->finish(), WEFT_RELAY_REASON_FINISHED);
}

TEST(UserspaceRelay, SingleBytes) {
    Chain c;
    Writer out(c.client(), 3000, {.step = 1});
    const auto got = read_pattern(c.server(), 0);
    EXPECT_TRUE(got.intact(3000)) << got.text();
}

TEST(UserspaceRelay, ResetsTravelBothWays) {
    for (const bool client_resets : {true, false}) {
        Chain c;
        ASSERT_EQ(write_pattern(c.client(), 1000, {.ending = Ending::kNone}), 0);
        EXPECT_TRUE(read_pattern(c.server(), 1000, {.until_end = false}).intact(1000));
        auto& dying = client_resets ? c.front.client : c.back.server;
        test::reset_on_close(dying.get());
        dying.reset();
        const auto seen = read_pattern(client_resets ? c.server() : c.client(), 0);
        EXPECT_EQ(seen.end, End::kReset) << seen.text();
        EXPECT_EQ(c.left->finish(), client_resets ? WEFT_RELAY_REASON_APP_RESET : WEFT_RELAY_REASON_PEER_RESET);
        EXPECT_EQ(c.right->finish(), client_resets ? WEFT_RELAY_REASON_PEER_RESET : WEFT_RELAY_REASON_APP_RESET);
    }
}

// After both halves were closed by one side only a reset can tell of the other one's death.
TEST(UserspaceRelay, ResetAfterAHalfCloseIsSeen) {
    Chain c;
    EXPECT_EQ(::shutdown(c.client(), SHUT_WR), 0);
    EXPECT_EQ(read_pattern(c.server(), 0).end, End::kFin);
    test::reset_on_close(c.client());
    c.front.client.reset();
    EXPECT_EQ(c.left->finish(), WEFT_RELAY_REASON_APP_RESET);
    EXPECT_EQ(read_pattern(c.server(), 0).end, End::kFin) << "it has read everything, and may still be writing";
    EXPECT_EQ(c.right->finish(), WEFT_RELAY_REASON_PEER_RESET);
}

TEST(UserspaceRelay, TruncationIsAnErrorToTheApplication) {
    Direct d;
    ASSERT_EQ(SSL_write(d.peer.get(), "abc", 3), 3);
    EXPECT_EQ(::shutdown(d.peer_fd(), SHUT_WR), 0); // FIN without close_notify
    EXPECT_EQ(d.left->finish(), WEFT_RELAY_REASON_TRUNCATED);
    char bytes[8];
    ssize_t got = 0;
    while ((got = ::recv(d.client(), bytes, sizeof bytes, 0)) > 0) {
    }
    EXPECT_EQ(got, -1);
    EXPECT_EQ(errno, ECONNRESET);
}

TEST(UserspaceRelay, CloseNotifyGoesBeforeFin) {
    Direct d;
    EXPECT_EQ(::shutdown(d.client(), SHUT_WR), 0);
    ASSERT_NE(test::wait_for(d.peer_fd(), POLLIN), 0);
    char byte = 0;
    int result = -1;
    ASSERT_TRUE(test::eventually([&] {
        result = SSL_read(d.peer.get(), &byte, 1);
        return SSL_get_error(d.peer.get(), result) != SSL_ERROR_WANT_READ;
    }));
    EXPECT_EQ(SSL_get_error(d.peer.get(), result), SSL_ERROR_ZERO_RETURN);
}

TEST(UserspaceRelay, DamagedAndForgedRecordsEndIt) {
    for (const bool whole : {true, false}) {
        Direct d;
        std::string record = std::string("\x17\x03\x03\x00\x20", 5) + std::string(32, 'x');
        record = whole ? record : "GET / HTTP/1.1\r\n\r\n";
        ASSERT_EQ(::send(d.peer_fd(), record.data(), record.size(), 0), static_cast<ssize_t>(record.size()));
        EXPECT_EQ(d.left->finish(), WEFT_RELAY_REASON_BAD_RECORD);
        EXPECT_EQ(read_pattern(d.client(), 0).end, End::kReset);
    }
}

TEST(UserspaceRelay, StalledReaderStopsTheWriter) {
    Chain c;
    std::uint64_t written = 0;
    // Socket buffers of four sockets, and two records; then nothing is taken for a while.
    const auto write_more = [&] {
        return test::wait_for(c.client(), POLLOUT, std::chrono::milliseconds(500)) != 0 && written < 256 * kMiB;
    };
    while (write_more()) {
        char chunk[65536];
        for (std::size_t i = 0; i < sizeof chunk; ++i) {
            chunk[i] = static_cast<char>(test::pattern_at(written + i));
        }
        const auto put = ::send(c.client(), chunk, sizeof chunk, MSG_DONTWAIT);
        written += put > 0 ? static_cast<std::uint64_t>(put) : 0;
    }
    EXPECT_LT(written, 64 * kMiB);
    EXPECT_EQ(::shutdown(c.client(), SHUT_WR), 0);
    const auto got = read_pattern(c.server(), 0);
    EXPECT_TRUE(got.intact(written)) << got.text();
}

TEST(UserspaceRelay, HalfClosedConnectionDoesNotSpin) {
    Chain c;
    EXPECT_EQ(::shutdown(c.client(), SHUT_WR), 0);
    EXPECT_EQ(read_pattern(c.server(), 0).end, End::kFin);
    const auto before = c.left->turns() + c.right->turns();
    (void)::poll(nullptr, 0, 300);
    // The rest of the end may still be on its way at first. One that spins has turned many thousand times by now.
    EXPECT_LE(c.left->turns() + c.right->turns() - before, 50);
}

TEST(UserspaceRelay, AbortResetsBothEnds) {
    Chain c;
    ASSERT_EQ(write_pattern(c.client(), 10, {.ending = Ending::kNone}), 0);
    EXPECT_TRUE(read_pattern(c.server(), 10, {.until_end = false}).intact(10));
    EXPECT_EQ(c.left->finish(true), WEFT_RELAY_REASON_REQUESTED);
    EXPECT_EQ(read_pattern(c.client(), 0).end, End::kReset);
    EXPECT_EQ(read_pattern(c.server(), 0).end, End::kReset);
}

TEST(UserspaceRelay, KeysAreChangedWhereBothAgreed) {
    const UserspaceOptions options{.rekey = true, .key_limit = kMiB};
    Chain c(options, options, true);
    Writer out(c.client(), 20 * kMiB);
    Writer in(c.server(), 20 * kMiB);
    auto at_server = std::async(std::launch::async, [&] { return read_pattern(c.server(), 0); });
    const auto got = read_pattern(c.client(), 0);
    EXPECT_TRUE(got.intact(20 * kMiB)) << got.text();
    EXPECT_TRUE(at_server.get().intact(20 * kMiB));
    EXPECT_FALSE(c.left->relay().limit_reached());
}

TEST(UserspaceRelay, KeyLimitWarnsOrCloses) {
    {
        Chain c({.key_limit = kMiB});
        Writer out(c.client(), 3 * kMiB);
        EXPECT_TRUE(read_pattern(c.server(), 0).intact(3 * kMiB));
        EXPECT_EQ(::shutdown(c.server(), SHUT_WR), 0);
        EXPECT_EQ(c.left->finish(), WEFT_RELAY_REASON_FINISHED);
        EXPECT_TRUE(c.left->relay().limit_reached());
    }
    Chain c({.key_limit = kMiB, .close_at_limit = true});
    Writer out(c.client(), 3 * kMiB);
    EXPECT_EQ(read_pattern(c.server(), 0).end, End::kReset);
    EXPECT_EQ(c.left->finish(), WEFT_RELAY_REASON_KEY_LIMIT);
}

} // namespace
} // namespace weft::ktls
