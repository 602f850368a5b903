// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does a joined connection behave as TCP does? Every test runs twice, without and with acceleration.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/wait.h>

#include <random>

#include "tests/net/accel/joined.hpp"

namespace weft::test {
namespace {

class TortureTest : public JoinedTest, public ::testing::WithParamInterface<bool> {
protected:
    void SetUp() override { switch_on(GetParam()); }

    /// What must hold at the end of a test whose bytes could skip TCP.
    void expect_path(const Connection& connection) {
        if (GetParam()) {
            EXPECT_GT(skipped(connection), 0U);
        } else {
            EXPECT_EQ(skipped(connection), 0U);
        }
    }
};

INSTANTIATE_TEST_SUITE_P(Paths, TortureTest, ::testing::Bool(),
                         [](const auto& path) { return std::string(path.param ? "joined" : "tcp"); });

TEST_P(TortureTest, BothWaysAtOnceInPiecesOfEverySize) {
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    const std::size_t size = emulated() ? 2'000'000 : 30'000'000;
    const std::string there = pattern(size), back = pattern(size, 99);
    const auto send_pieces = [](int fd, const std::string& data, unsigned seed) {
        std::mt19937 random(seed);
        std::size_t done = 0;
        while (done < data.size()) {
            const std::size_t piece = std::min<std::size_t>(data.size() - done, 1 + random() % (1U << (random() % 19)));
            if (!write_all(fd, data.substr(done, piece))) {
                return;
            }
            done += piece;
        }
    };
    std::jthread first([&] { send_pieces(c.client.get(), there, 1); });
    std::jthread second([&] { send_pieces(c.server.get(), back, 2); });
    std::string got_back;
    std::jthread third([&] { got_back = read_all(c.client.get(), size); });
    const std::string got = read_all(c.server.get(), size);
    third.join();
    EXPECT_TRUE(got == there);
    EXPECT_TRUE(got_back == back);
    expect_path(c);
}

TEST_P(TortureTest, WhatIsSentTheMomentThatConnectReturnsComesFirst) {
    const auto at = listener(8080);
    const int rounds = emulated() ? 100 : 2000;
    int joined = 0;
    for (int i = 0; i < rounds; ++i) {
        Connection c;
        world.client.run([&] {
            c.client = open_socket(AF_INET, SOCK_STREAM, 20);
            ASSERT_EQ(connect_to(c.client.get(), SockAddr("10.77.0.2", 8080)), 0);
            for (const char* piece : {"one ", "two ", "three ", "four "}) {
                ASSERT_EQ(send_text(c.client.get(), piece), 0);
            }
        });
        c.server = UniqueFd(::accept4(at.get(), nullptr, nullptr, SOCK_CLOEXEC));
        ASSERT_EQ(send_text(c.client.get(), "five"), 0);
        ASSERT_EQ(read_all(c.server.get(), 23), "one two three four five");
        joined += skipped(c) > 0;
    }
    if (GetParam()) {
        EXPECT_GT(joined, rounds / 2);
    }
    RecordProperty("joined", joined);
}

TEST_P(TortureTest, AnEndThatIsShutStillHears) {
    const auto at = listener(8080);
    for (const bool client_first : {true, false}) {
        const auto c = connect(at, 8080);
        const int a = client_first ? c.client.get() : c.server.get(),
                  b = client_first ? c.server.get() : c.client.get();
        const std::string data = pattern(300'000), reply = pattern(200'000, 5);
        std::jthread writer([&] {
            EXPECT_TRUE(write_all(a, data));
            EXPECT_EQ(::shutdown(a, SHUT_WR), 0);
        });
        EXPECT_TRUE(read_all(b, data.size() + 1) == data); // and the end
        char byte;
        EXPECT_EQ(::recv(b, &byte, 1, 0), 0);
        EXPECT_EQ(::send(a, "x", 1, MSG_NOSIGNAL), -1);
        EXPECT_EQ(errno, EPIPE);
        expect_path(c);
        std::jthread replier([&] {
            EXPECT_TRUE(write_all(b, reply));
            EXPECT_EQ(::shutdown(b, SHUT_WR), 0);
        });
        EXPECT_TRUE(read_all(a, reply.size() + 1) == reply);
        EXPECT_EQ(::recv(a, &byte, 1, 0), 0);
    }
}

TEST_P(TortureTest, AResetIsAReset) {
    const auto at = listener(8080);
    for (const bool client_first : {true, false}) {
        auto c = connect(at, 8080);
        auto& a = client_first ? c.client : c.server;
        auto& b = client_first ? c.server : c.client;
        ASSERT_EQ(send_text(a.get(), "before"), 0);
        ASSERT_EQ(receive(b.get()).first, "before");
        const linger now{1, 0};
        ASSERT_EQ(::setsockopt(a.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
        a.reset();
        pollfd ended{b.get(), POLLIN, 0};
        ASSERT_EQ(::poll(&ended, 1, 10000), 1);
        EXPECT_EQ(receive(b.get()).first, "!ECONNRESET");
        EXPECT_EQ(::send(b.get(), "x", 1, MSG_NOSIGNAL), -1);
        EXPECT_EQ(errno, EPIPE);
    }
}

TEST_P(TortureTest, WhatWasSentBeforeACloseIsRead) {
    const auto at = listener(8080);
    for (int i = 0; i < (emulated() ? 20 : 200); ++i) {
        auto c = connect(at, 8080);
        const std::string data = pattern(1 + static_cast<std::size_t>(i) * 331, static_cast<std::uint32_t>(i));
        ASSERT_TRUE(write_all(c.client.get(), data));
        c.client.reset();
        ASSERT_TRUE(read_all(c.server.get(), data.size() + 1) == data);
    }
}

TEST_P(TortureTest, WritingToAPeerThatIsGoneFailsAsEver) {
    const auto at = listener(8080);
    auto c = connect(at, 8080);
    ASSERT_EQ(send_text(c.client.get(), "hello"), 0);
    ASSERT_EQ(receive(c.server.get()).first, "hello");
    c.server.reset();
    std::string last;
    for (int i = 0; i < 1000 && last.empty(); ++i) {
        if (::send(c.client.get(), "x", 1, MSG_NOSIGNAL) < 0) {
            last = strerrorname_np(errno);
        } else {
            (void)::poll(nullptr, 0, 1);
        }
    }
    EXPECT_TRUE(last == "EPIPE" || last == "ECONNRESET") << last;
}

TEST_P(TortureTest, PeekingTakesNothing) {
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    ASSERT_EQ(send_text(c.client.get(), "first,"), 0);
    ASSERT_EQ(send_text(c.client.get(), "second"), 0);
    char buffer[64];
    for (int i = 0; i < 3; ++i) {
        const ssize_t got = ::recv(c.server.get(), buffer, 4, MSG_PEEK);
        ASSERT_EQ(got, 4);
        EXPECT_EQ(std::string(buffer, 4), "firs");
    }
    EXPECT_EQ(read_all(c.server.get(), 12), "first,second");
    EXPECT_EQ(::recv(c.server.get(), buffer, 1, MSG_PEEK | MSG_DONTWAIT), -1);
    EXPECT_EQ(errno, EAGAIN);
    expect_path(c);
}

TEST_P(TortureTest, EveryArrivalIsAnEdge) {
    const auto at = listener(8080);
    auto c = connect(at, 8080);
    const UniqueFd poller(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event want{.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data = {.u64 = 7}}, got{};
    ASSERT_EQ(::epoll_ctl(poller.get(), EPOLL_CTL_ADD, c.server.get(), &want), 0);
    for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(::epoll_wait(poller.get(), &got, 1, 0), 0) << i;
        ASSERT_EQ(send_text(c.client.get(), "x"), 0);
        ASSERT_EQ(::epoll_wait(poller.get(), &got, 1, 10000), 1) << i;
        EXPECT_EQ(got.events, EPOLLIN);
        if (i % 2 == 0) { // an edge comes for new bytes, also on top of unread ones
            ASSERT_EQ(send_text(c.client.get(), "y"), 0);
            ASSERT_EQ(::epoll_wait(poller.get(), &got, 1, 10000), 1) << i;
            ASSERT_EQ(read_all(c.server.get(), 2), "xy");
        } else {
            ASSERT_EQ(read_all(c.server.get(), 1), "x");
        }
    }
    c.client.reset();
    ASSERT_EQ(::epoll_wait(poller.get(), &got, 1, 10000), 1);
    EXPECT_EQ(got.events & (EPOLLIN | EPOLLRDHUP), EPOLLIN | EPOLLRDHUP);
}

TEST_P(TortureTest, FilesAndPipesCanBeSent) {
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    const std::string data = pattern(1'000'000);
    const UniqueFd file(::memfd_create("weft", MFD_CLOEXEC));
    ASSERT_EQ(::write(file.get(), data.data(), data.size()), static_cast<ssize_t>(data.size()));
    std::jthread sender([&] {
        off_t at_byte = 0;
        while (static_cast<std::size_t>(at_byte) < data.size()) {
            if (::sendfile(c.client.get(), file.get(), &at_byte, data.size()) <= 0) {
                return;
            }
        }
    });
    EXPECT_TRUE(read_all(c.server.get(), data.size()) == data);
    sender.join();
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    const UniqueFd out(ends[0]), in(ends[1]);
    ASSERT_EQ(::write(in.get(), data.data(), 10000), 10000);
    std::size_t moved = 0;
    while (moved < 10000) {
        const ssize_t step = ::splice(out.get(), nullptr, c.client.get(), nullptr, 10000 - moved, 0);
        ASSERT_GT(step, 0);
        moved += static_cast<std::size_t>(step);
    }
    EXPECT_TRUE(read_all(c.server.get(), 10000) == data.substr(0, 10000));
    expect_path(c);
}

TEST_P(TortureTest, AReaderThatStandsStillStopsTheWriter) {
    const auto at = listener(8080);
    for (const int buffer : {0, 8192}) {
        const auto c = connect(at, 8080);
        if (buffer != 0) {
            ASSERT_EQ(::setsockopt(c.server.get(), SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer), 0);
        }
        const std::string data = pattern(64'000'000);
        std::size_t written = 0;
        ASSERT_EQ(::fcntl(c.client.get(), F_SETFL, O_NONBLOCK), 0);
        pollfd room{c.client.get(), POLLOUT, 0};
        while (written < data.size() && ::poll(&room, 1, 300) == 1) {
            const ssize_t step =
                ::send(c.client.get(), data.data() + written, std::min<std::size_t>(data.size() - written, 50000), 0);
            if (step < 0) {
                ASSERT_EQ(errno, EAGAIN);
            } else {
                written += static_cast<std::size_t>(step);
            }
        }
        EXPECT_LT(written, 40'000'000U);
        EXPECT_TRUE(read_all(c.server.get(), written) == data.substr(0, written));
        // And it goes on.
        ASSERT_EQ(::fcntl(c.client.get(), F_SETFL, 0), 0);
        ASSERT_EQ(send_text(c.client.get(), "on"), 0);
        EXPECT_EQ(read_all(c.server.get(), 2), "on");
        RecordProperty(buffer == 0 ? "waiting" : "waiting_small", std::to_string(written));
    }
}

TEST_P(TortureTest, ManyShortConnectionsLeaveNothing) {
    const auto at = listener(8080);
    const int count = emulated() ? 500 : 10'000;
    std::jthread server([&] {
        for (int i = 0; i < count; ++i) {
            const UniqueFd one(::accept4(at.get(), nullptr, nullptr, SOCK_CLOEXEC));
            char buffer[16];
            const ssize_t got = ::recv(one.get(), buffer, sizeof buffer, 0);
            if (got > 0) {
                (void)::send(one.get(), buffer, static_cast<std::size_t>(got), MSG_NOSIGNAL);
            }
        }
    });
    int good = 0;
    world.client.run([&] {
        for (int i = 0; i < count; ++i) {
            const UniqueFd fd = open_socket(AF_INET, SOCK_STREAM, 20);
            const std::string text = std::to_string(i);
            good += connect_to(fd.get(), SockAddr("10.77.0.2", 8080)) == 0 && send_text(fd.get(), text) == 0 &&
                    read_all(fd.get(), text.size()) == text && receive(fd.get()).first.empty();
        }
    });
    EXPECT_EQ(good, count);
    server.join();
    for (int tries = 0; tries < 1000 && pairs() != 0; ++tries) {
        (void)::poll(nullptr, 0, 10);
    }
    EXPECT_EQ(pairs(), 0U);
}

TEST_P(TortureTest, ACloseInTheMiddleCutsAtOnePlace) {
    const auto at = listener(8080);
    for (int i = 0; i < (emulated() ? 5 : 40); ++i) {
        auto c = connect(at, 8080);
        const std::string data = pattern(4'000'000);
        std::jthread writer([&] { (void)write_all(c.client.get(), data); }); // fails when the reader goes
        const std::size_t take = static_cast<std::size_t>(i) * 50'000 + 1;
        EXPECT_TRUE(read_all(c.server.get(), take) == data.substr(0, take));
        c.server.reset();
    }
}

TEST_P(TortureTest, AProcessThatIsKilledEndsItsConnections) {
    const auto at = listener(8080);
    for (int i = 0; i < (emulated() ? 3 : 20); ++i) {
        auto c = connect(at, 8080);
        const std::string data = pattern(1'000'000);
        const pid_t child = ::fork();
        if (child == 0) {
            for (;;) {
                (void)write_all(c.client.get(), data);
            }
        }
        c.client.reset();
        std::string got = read_all(c.server.get(), 500'000 + static_cast<std::size_t>(i) * 1000);
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        ASSERT_EQ(::waitpid(child, nullptr, 0), child);
        got += read_all(c.server.get(), 1'000'000'000); // to the end, which must come
        for (std::size_t from = 0; from < got.size(); from += data.size()) {
            ASSERT_EQ(got.compare(from, data.size(), data, 0, std::min(data.size(), got.size() - from)), 0);
        }
    }
}

TEST_P(TortureTest, TheKernelsOwnViewOfTheSocketStaysSane) {
    const auto at = listener(8080);
    const auto c = connect(at, 8080);
    ASSERT_EQ(send_text(c.client.get(), "hello"), 0);
    ASSERT_EQ(receive(c.server.get()).first, "hello");
    tcp_info info{};
    socklen_t size = sizeof info;
    ASSERT_EQ(::getsockopt(c.client.get(), SOL_TCP, TCP_INFO, &info, &size), 0);
    EXPECT_EQ(info.tcpi_state, TCP_ESTABLISHED);
    EXPECT_EQ(info.tcpi_total_retrans, 0U);
    EXPECT_EQ(info.tcpi_unacked, 0U);
    EXPECT_EQ(peer_name(c.client.get()), "10.77.0.2:8080");
    EXPECT_EQ(peer_name(c.server.get()), own_name(c.client.get()));
}

} // namespace
} // namespace weft::test
