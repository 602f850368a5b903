// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does a connection between two workloads of one node gain when its bytes skip TCP/IP? Plain TCP over a veth pair
// without Weft, Weft without acceleration, and with it: messages to and fro, a stream, and connects. All three
// alternate in rounds, so that a busy machine weighs on them alike; ratios are of one round. accel_cost [ROUNDS]; a
// table on stderr, JSON on stdout.
#include <netinet/tcp.h>
#include <sched.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/sockets.hpp"
#include "tests/support/world.hpp"

namespace weft::test {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint16_t kPort = 8080;
constexpr int kMessages = 2000; ///< to and fro, in each round
constexpr int kLargeMessages = 400;
constexpr int kPieces = 128; ///< of 1 MiB, in each round
constexpr int kConnects = 1000;

enum Path { kPlain, kWeft, kJoined, kPaths };
constexpr std::array<const char*, kPaths> kNames = {"plain TCP", "Weft", "Weft, joined"};

void stay_on_cpu(unsigned cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu % std::max(1U, std::thread::hardware_concurrency()), &set);
    (void)::sched_setaffinity(0, sizeof set, &set); // only figures become worse without
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

void check(bool good, const char* what) {
    if (!good) {
        throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
    }
}

void send_whole(int fd, const char* data, std::size_t size) {
    for (std::size_t done = 0; done < size;) {
        const ssize_t step = ::send(fd, data + done, size - done, MSG_NOSIGNAL);
        check(step > 0, "send");
        done += static_cast<std::size_t>(step);
    }
}

void receive_whole(int fd, char* data, std::size_t size) {
    for (std::size_t done = 0; done < size;) {
        const ssize_t step = ::recv(fd, data + done, size - done, 0);
        check(step > 0, "recv");
        done += static_cast<std::size_t>(step);
    }
}

/// One kind of work: what both ends do with their buffer.
struct Work {
    const char* name;
    std::size_t size;
    int count;
    bool stream; ///< one way, then one byte back; else each message comes back
};
constexpr Work kSmall{"64 B", 64, kMessages, false};
constexpr Work kLarge{"64 KiB", 65536, kLargeMessages, false};
constexpr Work kStream{"1 MiB stream", 1048576, kPieces, true};

void serve(int fd, const Work& work) {
    std::vector<char> buffer(work.size);
    for (int i = 0; i < work.count; ++i) {
        receive_whole(fd, buffer.data(), buffer.size());
        if (!work.stream) {
            send_whole(fd, buffer.data(), buffer.size());
        }
    }
    if (work.stream) {
        send_whole(fd, buffer.data(), 1);
    }
}

/// Microseconds of every message, or of the whole stream.
std::vector<double> use(int fd, const Work& work) {
    std::vector<char> buffer(work.size, 'x');
    std::vector<double> out;
    auto began = Clock::now();
    const auto lap = [&] {
        const auto now = Clock::now();
        out.push_back(std::chrono::duration<double, std::micro>(now - began).count());
        began = now;
    };
    for (int i = 0; i < work.count; ++i) {
        send_whole(fd, buffer.data(), buffer.size());
        if (!work.stream) {
            receive_whole(fd, buffer.data(), buffer.size());
            lap();
        }
    }
    if (work.stream) {
        receive_whole(fd, buffer.data(), 1);
        lap();
    }
    return out;
}

class Bench {
public:
    /// Puts sockets that are made from now on on this path.
    void choose(Path path) {
        if (path == kPlain) {
            world_.cgroup.leave();
        } else {
            world_.cgroup.join();
        }
        const std::uint32_t flag = path == kJoined ? WEFT_ENDPOINT_ACCEL : 0U;
        world_.set_endpoint(world_.client, "10.77.0.1", "fd77::1", flag);
        world_.set_endpoint(world_.server, "10.77.0.2", "fd77::2", flag | WEFT_ENDPOINT_ANY_SOURCE);
        world_.bump_revision();
        (void)world_.events(); // a full ring would make the next round cheaper than it is
    }
    std::vector<double> measure(const Work& work) {
        UniqueFd listener;
        world_.server.run([&] { listener = listen_on(SockAddr("10.77.0.2", kPort)); });
        std::vector<double> out;
        std::jthread server([&] {
            stay_on_cpu(1);
            const UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            prepare(fd.get());
            serve(fd.get(), work);
        });
        world_.client.run([&] {
            stay_on_cpu(0);
            const UniqueFd fd = open_socket(AF_INET, SOCK_STREAM, 60);
            prepare(fd.get());
            check(connect_to(fd.get(), SockAddr("10.77.0.2", kPort)) == 0, "connect");
            out = use(fd.get(), work);
        });
        return out;
    }
    /// Microseconds of each connect.
    std::vector<double> connects() {
        UniqueFd listener;
        world_.server.run([&] { listener = listen_on(SockAddr("10.77.0.2", kPort), 4096); });
        std::vector<double> out;
        std::jthread server([&] {
            stay_on_cpu(1);
            for (int i = 0; i < kConnects; ++i) {
                const UniqueFd fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
            }
        });
        world_.client.run([&] {
            stay_on_cpu(0);
            const linger hard{1, 0}; // no TIME_WAIT: ports are never scarce
            for (int i = 0; i < kConnects; ++i) {
                const UniqueFd fd = open_socket(AF_INET, SOCK_STREAM, 60);
                (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard); // only ports are at stake
                const auto began = Clock::now();
                check(connect_to(fd.get(), SockAddr("10.77.0.2", kPort)) == 0, "connect");
                out.push_back(std::chrono::duration<double, std::micro>(Clock::now() - began).count());
            }
        });
        return out;
    }

private:
    static void prepare(int fd) {
        const int one = 1;
        const timeval limit{60, 0};
        (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); // a wrong figure would show it
        (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    }
    World world_;
};

/// A figure of every path, and how it compares with plain TCP of the same round: more is better.
struct Row {
    std::string name;
    std::array<std::vector<double>, kPaths> us;
    std::array<std::vector<double>, kPaths> ratio;

    void add(const std::array<double, kPaths>& round) {
        for (std::size_t path = 0; path < kPaths; ++path) {
            us[path].push_back(round[path]);
            ratio[path].push_back(round[kPlain] / round[path]);
        }
    }
};

double quantile(std::vector<double> values, double share) {
    std::ranges::sort(values);
    return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
}

void run(int rounds) {
    Bench bench;
    std::vector<Row> rows = {{"64 B p50", {}, {}},   {"64 B p99", {}, {}},     {"64 KiB p50", {}, {}},
                             {"64 KiB p99", {}, {}}, {"1 MiB stream", {}, {}}, {"connect", {}, {}}};
    for (int round = -1; round < rounds; ++round) {
        std::array<std::array<double, kPaths>, 6> figures{};
        for (std::size_t path = 0; path < kPaths; ++path) {
            bench.choose(static_cast<Path>(path));
            const auto small = bench.measure(kSmall);
            const auto large = bench.measure(kLarge);
            figures[0][path] = quantile(small, 0.5);
            figures[1][path] = quantile(small, 0.99);
            figures[2][path] = quantile(large, 0.5);
            figures[3][path] = quantile(large, 0.99);
            figures[4][path] = bench.measure(kStream).front();
            figures[5][path] = quantile(bench.connects(), 0.5);
        }
        for (std::size_t i = 0; round >= 0 && i < rows.size(); ++i) { // the first one warms caches
            rows[i].add(figures[i]);
        }
    }
    bench.choose(kPlain);
    fmt::print(stderr, "{:<14} {:>12} {:>12} {:>7} {:>12} {:>7}\n", "us", kNames[0], kNames[1], "ratio", kNames[2],
               "ratio");
    std::string json;
    for (const Row& row : rows) {
        fmt::print(stderr, "{:<14} {:>12.1f} {:>12.1f} {:>7.2f} {:>12.1f} {:>7.2f}\n", row.name, median(row.us[0]),
                   median(row.us[1]), median(row.ratio[1]), median(row.us[2]), median(row.ratio[2]));
        json += fmt::format("{}{{\"what\":\"{}\",\"plain_us\":{:.2f},\"weft_us\":{:.2f},\"weft_ratio\":{:.3f},"
                            "\"joined_us\":{:.2f},\"joined_ratio\":{:.3f}}}",
                            json.empty() ? "" : ",", row.name, median(row.us[0]), median(row.us[1]),
                            median(row.ratio[1]), median(row.us[2]), median(row.ratio[2]));
    }
    fmt::print("{{\"benchmark\":\"accel_cost\",\"rounds\":{},\"rows\":[{}]}}\n", rounds, json);
}

} // namespace
} // namespace weft::test

int main(int argc, char** argv) {
    try {
        weft::test::run(argc > 1 ? std::atoi(argv[1]) : 15);
    } catch (const std::exception& error) {
        fmt::print(stderr, "accel_cost: {}\n", error.what());
        return 1;
    }
    return 0;
}
