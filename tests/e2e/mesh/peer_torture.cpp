// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Every way in which an application can use and end a connection, against peer::serve.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

#include <functional>
#include <vector>

#include <fmt/core.h>

#include "tests/e2e/mesh/peer_client.hpp"
#include "tests/net/ktls/pattern.hpp"

namespace weft::e2e::peer {
namespace {

using ktls::test::Ending;
using ktls::test::read_pattern;
using ktls::test::write_pattern;

struct Amounts {
    std::string address;
    std::uint64_t bytes;
    int connections;
};

std::string ok(std::uint64_t bytes) {
    return fmt::format("ok {}\n", bytes);
}

void written(int error) {
    if (error != 0) {
        throw Failure(std::string("write: ") + strerrorname_np(error));
    }
}

/// Both ways at once, in odd sizes.
void exchange(const Amounts& a) {
    const auto fd = open_connection(a.address, fmt::format("exchange {}", a.bytes));
    ktls::test::Writer writer(fd.get(), a.bytes);
    const auto report = read_pattern(fd.get(), a.bytes, {.until_end = false});
    if (!report.intact(a.bytes)) {
        throw Failure(report.text());
    }
    written(writer.result());
    expect(rest_of(fd.get()), ok(a.bytes));
}

void many(const Amounts& a) {
    for (int i = 0; i < a.connections; ++i) {
        const auto fd = open_connection(a.address, "ping");
        if (const auto text = rest_of(fd.get()); !text.starts_with("pong ")) {
            throw Failure(fmt::format("connection {}: '{}'", i, text));
        }
    }
}

/// What the application is told of both ends, on both sides.
void names(const Amounts& a) {
    const auto fd = open_connection(a.address, "");
    written(test::send_text(fd.get(), "ping\n"));
    expect(rest_of(fd.get()), fmt::format("pong {} {}\n", test::own_name(fd.get()), test::peer_name(fd.get())));
    expect(test::peer_name(fd.get()), test::SockAddr(a.address, kPort).text());
}

/// A reader that does not read stops the writer, and everything arrives when it does.
void stall(const Amounts& a) {
    const auto fd = open_connection(a.address, "stall");
    std::uint64_t size = 0;
    std::vector<char> block(65536);
    for (;;) {
        // What the buffers between hold is bounded; this many bytes would be memory without a bound.
        if (size > (std::uint64_t{96} << 20)) {
            throw Failure("nobody stopped the writer");
        }
        for (std::size_t i = 0; i < block.size(); ++i) {
            block[i] = static_cast<char>(ktls::test::pattern_at(size + i));
        }
        const auto sent = ::send(fd.get(), block.data(), block.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent > 0) {
            size += static_cast<std::uint64_t>(sent);
            continue;
        }
        pollfd writable{fd.get(), POLLOUT, 0};
        if (::poll(&writable, 1, 1500) == 0) {
            break;
        }
    }
    (void)open_connection(a.address, "release");
    written(write_pattern(fd.get(), a.bytes / 4, {.offset = size}));
    expect(rest_of(fd.get()), ok(size + a.bytes / 4));
}

void client_closes_first(const Amounts& a) {
    const auto fd = open_connection(a.address, "sum");
    written(write_pattern(fd.get(), 70001));
    expect(rest_of(fd.get()), ok(70001));
}

void server_closes_first(const Amounts& a) {
    const auto fd = open_connection(a.address, "first 70001");
    const auto report = read_pattern(fd.get(), ~std::uint64_t{0});
    if (!report.intact(70001) || report.end != ktls::test::End::kFin) {
        throw Failure(report.text());
    }
    written(write_pattern(fd.get(), 50003)); // its direction is still open
    const auto last = open_connection(a.address, "last");
    expect(rest_of(last.get()), ok(50003));
}

void server_resets(const Amounts& a) {
    const auto fd = open_connection(a.address, "reset");
    const auto [text, from] = test::receive(fd.get());
    expect(text, "!ECONNRESET");
}

void client_lingers_not(const Amounts& a) {
    {
        const auto fd = open_connection(a.address, "expect-reset");
        expect(test::receive(fd.get()).first, "ready\n");
        written(write_pattern(fd.get(), 1000, {.ending = Ending::kNone}));
        ktls::test::reset_on_close(fd.get());
    }
    const auto last = open_connection(a.address, "last");
    expect(rest_of(last.get()), "reset\n");
}

void no_bytes(const Amounts& a) {
    {
        const auto fd = open_connection(a.address, "");
        (void)::shutdown(fd.get(), SHUT_WR);
        expect(rest_of(fd.get()), "");
    }
    const auto last = open_connection(a.address, "last");
    expect(rest_of(last.get()), "empty\n");
}

void single_bytes(const Amounts& a) {
    const auto fd = open_connection(a.address, "sum");
    const int one = 1;
    (void)::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    written(write_pattern(fd.get(), 2000, {.step = 1}));
    expect(rest_of(fd.get()), ok(2000));
}

void more_to_come(const Amounts& a) {
    const auto fd = open_connection(a.address, "sum");
    for (std::uint64_t at = 0; at < 30000; ++at) {
        const auto byte = ktls::test::pattern_at(at);
        if (::send(fd.get(), &byte, 1, MSG_NOSIGNAL | (at + 1 < 30000 ? MSG_MORE : 0)) != 1) {
            throw Failure("send with MSG_MORE");
        }
    }
    (void)::shutdown(fd.get(), SHUT_WR);
    expect(rest_of(fd.get()), ok(30000));
}

UniqueFd patterned_file(std::uint64_t size) {
    UniqueFd file(::memfd_create("pattern", MFD_CLOEXEC));
    std::vector<std::uint8_t> bytes(size);
    for (std::uint64_t i = 0; i < size; ++i) {
        bytes[i] = ktls::test::pattern_at(i);
    }
    if (::write(file.get(), bytes.data(), size) != static_cast<ssize_t>(size)) {
        throw Failure("memfd");
    }
    (void)::lseek(file.get(), 0, SEEK_SET);
    return file;
}

void send_file(const Amounts& a) {
    const std::uint64_t size = a.bytes / 4 + 12345;
    const auto file = patterned_file(size);
    const auto fd = open_connection(a.address, "sum");
    for (std::uint64_t sent = 0; sent < size;) {
        const auto part = ::sendfile(fd.get(), file.get(), nullptr, size - sent);
        if (part <= 0) {
            throw Failure(std::string("sendfile: ") + strerrorname_np(errno));
        }
        sent += static_cast<std::uint64_t>(part);
    }
    (void)::shutdown(fd.get(), SHUT_WR);
    expect(rest_of(fd.get()), ok(size));
}

void splice_file(const Amounts& a) {
    const std::uint64_t size = a.bytes / 4 + 54321;
    const auto file = patterned_file(size);
    const auto fd = open_connection(a.address, "sum");
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
        throw Failure("pipe");
    }
    const UniqueFd out(ends[0]);
    const UniqueFd in(ends[1]);
    for (std::uint64_t sent = 0; sent < size;) {
        auto held = ::splice(file.get(), nullptr, in.get(), nullptr, 65536, 0);
        if (held <= 0) {
            throw Failure("splice into the pipe");
        }
        while (held > 0) {
            const auto part =
                ::splice(out.get(), nullptr, fd.get(), nullptr, static_cast<std::size_t>(held), SPLICE_F_MORE);
            if (part <= 0) {
                throw Failure(std::string("splice: ") + strerrorname_np(errno));
            }
            held -= part;
            sent += static_cast<std::uint64_t>(part);
        }
    }
    (void)::shutdown(fd.get(), SHUT_WR);
    expect(rest_of(fd.get()), ok(size));
}

void server_speaks_first(const Amounts& a) {
    const auto fd = open_connection(a.address, "", kBannerPort);
    std::string banner;
    while (!banner.ends_with('\n')) {
        const auto [part, from] = test::receive(fd.get());
        if (part.empty() || part.starts_with("!")) {
            throw Failure("after '" + banner + "': " + part);
        }
        banner += part;
    }
    expect(banner, kBanner);
    written(test::send_text(fd.get(), "ping\n"));
    if (const auto text = rest_of(fd.get()); !text.starts_with("pong ")) {
        throw Failure(text);
    }
}

} // namespace

int torture(const std::vector<std::string>& arguments) {
    const Amounts amounts{arguments[0], std::stoull(arguments[1]), std::stoi(arguments[2])};
    const std::vector<std::pair<const char*, std::function<void(const Amounts&)>>> cases{
        {"names", names},
        {"exchange", exchange},
        {"many", many},
        {"stall", stall},
        {"client-closes-first", client_closes_first},
        {"server-closes-first", server_closes_first},
        {"server-resets", server_resets},
        {"client-lingers-not", client_lingers_not},
        {"no-bytes", no_bytes},
        {"single-bytes", single_bytes},
        {"more-to-come", more_to_come},
        {"sendfile", send_file},
        {"splice", splice_file},
        {"server-speaks-first", server_speaks_first},
    };
    for (const auto& [name, run_case] : cases) {
        try {
            run_case(amounts);
            fmt::print("{} ok\n", name);
        } catch (const Failure& failure) {
            fmt::print("{} failed: {}\n", name, failure.what());
        }
        (void)std::fflush(stdout);
    }
    return 0;
}

} // namespace weft::e2e::peer
