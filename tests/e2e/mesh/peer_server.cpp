// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The server in a pod: what a connection is for is its first line.
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include <fmt/core.h>

#include "tests/e2e/mesh/peer.hpp"
#include "tests/net/ktls/pattern.hpp"
#include "tests/support/sockets.hpp"

namespace weft::e2e::peer {
namespace {

using ktls::test::End;
using ktls::test::read_pattern;
using ktls::test::ReadReport;
using ktls::test::write_pattern;

constexpr int kPatienceSeconds = 180;

/// What connections tell one another.
class Notes {
public:
    void remember(const std::string& key, const std::string& outcome) {
        const std::scoped_lock lock(mutex_);
        notes_[key] = outcome;
        changed_.notify_all();
    }
    /// Waits for it; what is told is forgotten.
    std::string take(const std::string& key) {
        std::unique_lock lock(mutex_);
        if (!changed_.wait_for(lock, std::chrono::seconds(kPatienceSeconds), [&] { return notes_.contains(key); })) {
            return "nothing";
        }
        return notes_.extract(key).mapped();
    }

private:
    std::mutex mutex_; // connections have a thread each
    std::condition_variable changed_;
    std::map<std::string, std::string> notes_;
};

Notes& notes() {
    static Notes all;
    return all;
}

std::string text_of(const ReadReport& report) {
    const bool right = report.first_wrong == ~std::uint64_t{0} && report.end == End::kFin;
    return right ? fmt::format("ok {}\n", report.bytes) : fmt::format("bad: {}\n", report.text());
}

std::string read_line(int fd) {
    std::string line;
    for (char c = 0; line.size() < 100 && ::recv(fd, &c, 1, 0) == 1 && c != '\n';) {
        line += c;
    }
    return line;
}

void echo_all(int fd) {
    std::vector<char> block(65536);
    for (ssize_t got = 0; (got = ::recv(fd, block.data(), block.size(), 0)) > 0;) {
        for (ssize_t at = 0; at < got;) {
            const auto sent =
                ::send(fd, block.data() + at, static_cast<std::size_t>(got - at), MSG_NOSIGNAL); // until all is sent
            if (sent <= 0) {
                return;
            }
            at += sent;
        }
    }
}

std::uint64_t count_all(int fd) {
    std::vector<char> block(65536);
    std::uint64_t count = 0;
    for (ssize_t got = 0; (got = ::recv(fd, block.data(), block.size(), 0)) > 0;) {
        count += static_cast<std::uint64_t>(got);
    }
    return count;
}

void answer(int fd) {
    const auto line = read_line(fd);
    const auto word = line.substr(0, line.find(' '));
    const auto argument = line.size() > word.size() ? line.substr(word.size() + 1) : std::string();
    const auto size = std::strtoull(argument.c_str(), nullptr, 10);
    if (word == "ping") {
        (void)test::send_text(fd, "pong " + test::peer_name(fd) + " " + test::own_name(fd) + "\n");
    } else if (word == "sum") {
        (void)test::send_text(fd, text_of(read_pattern(fd, ~std::uint64_t{0})));
    } else if (word == "count") {
        (void)test::send_text(fd, fmt::format("ok {}\n", count_all(fd)));
    } else if (word == "exchange") {
        ktls::test::Writer writer(fd, size, {.ending = ktls::test::Ending::kNone});
        const auto report = read_pattern(fd, ~std::uint64_t{0});
        (void)writer.result();
        (void)test::send_text(fd, text_of(report));
    } else if (word == "first") {
        (void)write_pattern(fd, size); // ends its own direction
        notes().remember("last", text_of(read_pattern(fd, ~std::uint64_t{0})));
    } else if (word == "reset") {
        ktls::test::reset_on_close(fd);
    } else if (word == "expect-reset") {
        (void)test::send_text(fd, "ready\n"); // a reset overtakes what was not read yet, also with plain TCP
        const auto report = read_pattern(fd, ~std::uint64_t{0});
        notes().remember("last", report.end == End::kReset ? "reset\n" : report.text() + "\n");
    } else if (word == "stall") {
        (void)notes().take("release");
        (void)test::send_text(fd, text_of(read_pattern(fd, ~std::uint64_t{0})));
    } else if (word == "release") {
        notes().remember("release", "");
    } else if (word == "last") {
        (void)test::send_text(fd, notes().take("last"));
    } else if (word == "echo") {
        echo_all(fd);
    } else if (word.empty()) {
        notes().remember("last", "empty\n");
    }
}

void accept_all(std::uint16_t port, bool banner) {
    const auto listener = test::listen_on(test::SockAddr("::", port), 4096);
    const timeval forever{0, 0};
    (void)::setsockopt(listener.get(), SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    for (;;) {
        UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd.valid()) {
            continue;
        }
        const timeval limit{kPatienceSeconds, 0};
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        std::thread([own = std::move(fd), banner] {
            if (banner) {
                (void)test::send_text(own.get(), kBanner);
            }
            answer(own.get());
        }).detach(); // ends with its connection or with the process
    }
}

} // namespace

int serve() {
    std::thread banner([] { accept_all(kBannerPort, true); });
    accept_all(kPort, false);
    banner.join();
    return 0;
}

} // namespace weft::e2e::peer
