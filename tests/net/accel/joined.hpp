// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Two workloads of one node whose connections are joined, or not: the same test runs for both, so that whatever plain
// TCP does is what acceleration is held to.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/sockets.hpp"
#include "tests/support/world.hpp"
#include "weft/abi/accel.h"

namespace weft::test {

/// In a guest of tests/qemu: there tests do a fraction.
inline bool emulated() {
    return ::access("/weft/begin", F_OK) == 0;
}

/// A connection between the two workloads of a world.
struct Connection {
    UniqueFd client, server;
};

class JoinedTest : public ::testing::Test {
protected:
    World world;

    void SetUp() override { switch_on(true); }

    /// Whether connections that begin from now on are joined.
    void switch_on(bool on) {
        const std::uint32_t flag = on ? WEFT_ENDPOINT_ACCEL : 0U;
        world.set_endpoint(world.client, "10.77.0.1", "fd77::1", flag);
        world.set_endpoint(world.server, "10.77.0.2", "fd77::2", flag | WEFT_ENDPOINT_ANY_SOURCE);
        world.bump_revision();
    }
    UniqueFd listener(std::uint16_t port, const std::string& ip = "10.77.0.2") {
        UniqueFd fd;
        world.server.run([&] { fd = listen_on(SockAddr(ip, port)); });
        EXPECT_TRUE(fd.valid());
        return fd;
    }
    /// `prepare` gets the client's socket before it connects.
    Connection connect(const UniqueFd& listener, std::uint16_t port, const std::string& ip = "10.77.0.2",
                       const std::function<void(int)>& prepare = {}) {
        Connection out;
        const SockAddr to(ip, port);
        world.client.run([&] { out.client = open_socket(to.family(), SOCK_STREAM, 20); });
        if (prepare) {
            prepare(out.client.get());
        }
        EXPECT_EQ(connect_to(out.client.get(), to), 0);
        out.server = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        EXPECT_TRUE(out.server.valid());
        const timeval limit{20, 0};
        (void)::setsockopt(out.server.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        (void)::setsockopt(out.server.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        return out;
    }
    static std::uint64_t cookie(int fd) {
        std::uint64_t out = 0;
        socklen_t size = sizeof out;
        EXPECT_EQ(::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &out, &size), 0);
        return out;
    }
    /// What the kernel keeps of a joined connection, by its client's socket.
    std::optional<weft_accel_pair> pair(std::uint64_t client) {
        weft_accel_pair out{};
        return bpf_map_lookup_elem(bpf_map__fd(world.bpf().maps.weft_accel_pair), &client, &out) == 0
                   ? std::optional(out)
                   : std::nullopt;
    }
    /// How many connections the kernel keeps.
    std::size_t pairs() {
        std::size_t count = 0;
        std::uint64_t key = 0, next = 0;
        const int fd = bpf_map__fd(world.bpf().maps.weft_accel_pair);
        for (bool more = bpf_map_get_next_key(fd, nullptr, &next) == 0; more;
             more = bpf_map_get_next_key(fd, &key, &next) == 0) {
            key = next;
            ++count;
        }
        return count;
    }
    /// Payload that skipped TCP, both ways.
    std::uint64_t skipped(const Connection& connection) {
        const auto found = pair(cookie(connection.client.get()));
        return found ? found->bytes[0] + found->bytes[1] : 0;
    }
    /// Reads until `size` bytes, the end, or an error; as event loops do, which ask first. What becomes of a read that
    /// waits is in the agent's trials.
    static std::string read_all(int fd, std::size_t size) {
        std::string out;
        std::vector<char> buffer(65536);
        while (out.size() < size) {
            pollfd ready{fd, POLLIN, 0};
            if (::poll(&ready, 1, 20000) != 1) {
                break;
            }
            const ssize_t got = ::recv(fd, buffer.data(), std::min(buffer.size(), size - out.size()), MSG_DONTWAIT);
            if (got < 0 && errno == EAGAIN) {
                continue;
            }
            if (got <= 0) {
                break;
            }
            out.append(buffer.data(), static_cast<std::size_t>(got));
        }
        return out;
    }
    static bool write_all(int fd, const std::string& data) {
        std::size_t done = 0;
        while (done < data.size()) {
            const ssize_t sent = ::send(fd, data.data() + done, data.size() - done, MSG_NOSIGNAL);
            if (sent <= 0) {
                return false;
            }
            done += static_cast<std::size_t>(sent);
        }
        return true;
    }
    /// `size` bytes of which each place has its own value, nearly.
    static std::string pattern(std::size_t size, std::uint32_t seed = 1) {
        std::string out(size, '\0');
        for (auto& c : out) {
            seed = seed * 1664525U + 1013904223U;
            c = static_cast<char>(seed >> 24);
        }
        return out;
    }
};

} // namespace weft::test
