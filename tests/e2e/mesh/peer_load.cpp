// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Clients that go on until they are told to stop: what is done to the mesh meanwhile must not show here.
#include <atomic>
#include <thread>

#include <fmt/core.h>

#include "tests/e2e/mesh/peer_client.hpp"
#include "tests/net/ktls/pattern.hpp"

namespace weft::e2e::peer {
namespace {

constexpr std::uint64_t kWindow = std::uint64_t{1} << 20; ///< bytes on their way at most
constexpr std::uint64_t kPiece = 16384;

} // namespace

int echo(const std::vector<std::string>& arguments) {
    const auto& file = arguments[1];
    try {
        const auto fd = open_connection(arguments[0], "echo");
        std::atomic<std::uint64_t> returned{0};
        std::atomic<std::uint64_t> total{0};
        std::atomic<bool> over{false};
        std::string trouble;
        std::thread writer([&] {
            std::uint64_t sent = 0;
            while (!stopped(file) && !over) {
                // Paced: it is to last, not to fill the machine.
                if (sent - returned > kWindow || sent > returned) {
                    (void)::poll(nullptr, 0, 1);
                }
                if (sent - returned > kWindow) {
                    continue;
                }
                if (ktls::test::write_pattern(fd.get(), kPiece,
                                              {.ending = ktls::test::Ending::kNone, .offset = sent}) != 0) {
                    break;
                }
                sent += kPiece;
            }
            total = sent;
            (void)::shutdown(fd.get(), SHUT_WR);
        });
        auto told = std::chrono::steady_clock::now() - std::chrono::seconds(1);
        while (trouble.empty()) {
            const auto report = ktls::test::read_pattern(fd.get(), kPiece, {.until_end = false, .offset = returned});
            returned += report.bytes;
            if (report.first_wrong != ~std::uint64_t{0}) {
                trouble = report.text();
            } else if (report.end == ktls::test::End::kFin) {
                break;
            } else if (report.end != ktls::test::End::kComplete) {
                trouble = fmt::format("after {} bytes: {}", returned.load(), report.text());
            }
            if (std::chrono::steady_clock::now() - told > std::chrono::milliseconds(20)) {
                told = std::chrono::steady_clock::now();
                tell(file, std::to_string(returned));
            }
        }
        over = true;
        writer.join();
        if (!trouble.empty()) {
            throw Failure(trouble);
        }
        if (returned != total) {
            throw Failure(fmt::format("{} bytes came back of {}", returned.load(), total.load()));
        }
        fmt::print("ok {}\n", total.load());
        return 0;
    } catch (const Failure& failure) {
        fmt::print("failed: {}\n", failure.what());
        return 1;
    }
}

int requests(const std::vector<std::string>& arguments) {
    const auto& file = arguments[1];
    std::uint64_t good = 0;
    std::uint64_t bad = 0;
    std::string first;
    while (!stopped(file)) {
        try {
            const auto fd = open_connection(arguments[0], "ping");
            if (const auto text = rest_of(fd.get()); !text.starts_with("pong ")) {
                throw Failure("answered '" + text + "'");
            }
            ++good;
            tell(file, std::to_string(good));
        } catch (const Failure& failure) {
            ++bad;
            first = first.empty() ? fmt::format(": after {} good ones: {}", good, failure.what()) : first;
        }
        (void)::poll(nullptr, 0, 2); // a load, not a flood
    }
    fmt::print("{} ok, {} failed{}\n", good, bad, first);
    return bad == 0 ? 0 : 1;
}

int mark(const std::vector<std::string>& arguments) {
    const auto bytes = std::stoull(arguments[1]);
    try {
        const auto fd = open_connection(arguments[0], "count");
        std::string block;
        while (block.size() < 65536) {
            block += kMark;
        }
        std::uint64_t sent = 0;
        while (sent < bytes) {
            const auto part =
                ::send(fd.get(), block.data(), std::min<std::uint64_t>(block.size(), bytes - sent), MSG_NOSIGNAL);
            if (part <= 0) {
                throw Failure(std::string("send: ") + strerrorname_np(errno));
            }
            sent += static_cast<std::uint64_t>(part);
        }
        (void)::shutdown(fd.get(), SHUT_WR);
        fmt::print("{}", rest_of(fd.get()));
        return 0;
    } catch (const Failure& failure) {
        fmt::print("failed: {}\n", failure.what());
        return 1;
    }
}

} // namespace weft::e2e::peer
