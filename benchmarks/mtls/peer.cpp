// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "benchmarks/mtls/peer.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>

#include <fmt/core.h>
#include <nlohmann/json.hpp>

#include "benchmarks/mtls/stream.hpp"

namespace weft::bench {
namespace {

using Context = std::shared_ptr<const ktls::Context>;
using Clock = std::chrono::steady_clock;

// Amounts that take seconds where each instruction is emulated; its clock counts instructions, so a few are exact.
constexpr std::uint32_t kBulk = 32U << 20U;
constexpr int kSmallRounds = 400;
constexpr int kLargeRounds = 60;
constexpr std::uint32_t kLarge = 64U << 10U;
constexpr int kConnects = 60;

/// What a client says first on a connection: messages of `size` bytes, each answered by `answer` bytes.
struct Hello {
    std::uint32_t size = 0;
    std::uint32_t answer = 0;
};

double microseconds(Clock::duration time) {
    return std::chrono::duration<double, std::micro>(time).count();
}

[[noreturn]] void give_up(const Error& error) {
    fmt::print(stderr, "{}\n", error.message());
    std::exit(1);
}

template <typename T>
T value_of(Result<T> result) {
    if (!result) {
        give_up(result.error());
    }
    return std::move(*result);
}

/// Answers until the client closes.
void answer(int fd) {
    Hello hello;
    if (!receive_all(fd, reinterpret_cast<char*>(&hello), sizeof hello)) {
        return;
    }
    std::vector<char> buffer(std::max({hello.size, hello.answer, 1U}) < kBulk ? std::max(hello.size, hello.answer)
                                                                              : 256U << 10U);
    for (;;) {
        for (std::size_t left = hello.size; left > 0;) {
            const std::size_t part = std::min(left, buffer.size());
            if (!receive_all(fd, buffer.data(), part)) {
                return;
            }
            left -= part;
        }
        if (!send_all(fd, buffer.data(), hello.answer)) {
            return;
        }
    }
}

int serve(const std::string& port, const Context& context) {
    (void)::signal(SIGCHLD, SIG_IGN);
    const UniqueFd listener(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const int one = 1;
    (void)::setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    sockaddr_in6 at{};
    at.sin6_family = AF_INET6;
    at.sin6_port = htons(static_cast<std::uint16_t>(std::stoul(port)));
    if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
        ::listen(listener.get(), 1024) != 0) {
        fmt::print(stderr, "port {}: {}\n", port, std::strerror(errno));
        return 1;
    }
    for (;;) {
        const UniqueFd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!client.valid() || ::fork() != 0) {
            continue;
        }
        (void)::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (context == nullptr || accept_tls(client.get(), context)) {
            answer(client.get());
        }
        ::_exit(0);
    }
}

/// One message and its answer; ends the program when the connection is gone.
void exchange(int fd, const Hello& hello, std::vector<char>& buffer) {
    bool whole = true;
    for (std::size_t left = hello.size; left > 0 && whole;) {
        const std::size_t part = std::min(left, buffer.size());
        whole = send_all(fd, buffer.data(), part);
        left -= part;
    }
    if (!whole || !receive_all(fd, buffer.data(), hello.answer)) {
        fmt::print(stderr, "the connection was lost: {}\n", std::strerror(errno));
        std::exit(1);
    }
}

UniqueFd open(const std::string& address, const std::string& port, const Context& context, const Hello& hello) {
    UniqueFd fd = value_of(dial(address, port, context));
    if (!send_all(fd.get(), reinterpret_cast<const char*>(&hello), sizeof hello)) {
        give_up(Error(errno, "the connection was lost at its first bytes"));
    }
    return fd;
}

nlohmann::json quantiles(std::vector<double> times) {
    std::ranges::sort(times);
    return {{"p50", times[times.size() / 2]}, {"p99", times[times.size() * 99 / 100]}};
}

int measure(const std::string& address, const std::string& port, const Context& context) {
    std::vector<char> buffer(256U << 10U, 'x');
    nlohmann::json result;
    const auto rounds = [&](const Hello& hello, int count) {
        const UniqueFd fd = open(address, port, context, hello);
        exchange(fd.get(), hello, buffer); // the path is built
        std::vector<double> times;
        for (int i = 0; i < count; ++i) {
            const auto began = Clock::now();
            exchange(fd.get(), hello, buffer);
            times.push_back(microseconds(Clock::now() - began));
        }
        return times;
    };
    result["bulk_us_per_mib"] = rounds({kBulk, 1}, 1).front() / (kBulk >> 20U);
    result["small_us"] = quantiles(rounds({64, 64}, kSmallRounds));
    result["large_us"] = quantiles(rounds({kLarge, kLarge}, kLargeRounds));
    // To the first answered byte: connect() alone returns when the local end of a path has accepted.
    std::vector<double> times;
    const auto all = Clock::now();
    for (int i = 0; i < kConnects; ++i) {
        const auto began = Clock::now();
        const UniqueFd fd = open(address, port, context, {1, 1});
        exchange(fd.get(), {1, 1}, buffer);
        times.push_back(microseconds(Clock::now() - began));
    }
    result["connects_per_second"] = kConnects / (microseconds(Clock::now() - all) / 1e6);
    result["connect_us"] = quantiles(std::move(times));
    fmt::print("{}\n", result.dump());
    return 0;
}

int hold(const std::string& address, const std::string& port, int count, unsigned seconds) {
    std::vector<UniqueFd> held;
    std::vector<char> buffer(1);
    for (int i = 0; i < count; ++i) {
        held.push_back(open(address, port, nullptr, {1, 1}));
        exchange(held.back().get(), {1, 1}, buffer);
    }
    fmt::print("open\n");
    (void)std::fflush(stdout);
    (void)::sleep(seconds);
    return 0;
}

} // namespace

int peer(const std::vector<std::string>& arguments) {
    (void)::signal(SIGPIPE, SIG_IGN);
    const auto context = [&](std::size_t at, const std::string& side) {
        return arguments.size() > at ? value_of(context_of(arguments[at], side)) : nullptr;
    };
    if (arguments.size() >= 2 && arguments[0] == "serve") {
        return serve(arguments[1], context(2, "server"));
    }
    if (arguments.size() >= 3 && arguments[0] == "measure") {
        return measure(arguments[1], arguments[2], context(3, "client"));
    }
    if (arguments.size() == 5 && arguments[0] == "hold") {
        return hold(arguments[1], arguments[2], std::stoi(arguments[3]),
                    static_cast<unsigned>(std::stoul(arguments[4])));
    }
    fmt::print(stderr, "usage: peer serve PORT [PKI] | measure ADDRESS PORT [PKI] | hold ADDRESS PORT COUNT SECONDS\n");
    return 2;
}

} // namespace weft::bench
