// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The three ways in which an application can speak IP; every data-path test runs for each.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "tests/support/sockets.hpp"
#include "tests/support/world.hpp"

namespace weft::test {

struct Family {
    const char* name;
    const char* vip;
    const char* client;
    const char* server_prefix; ///< the last digit follows
    bool mapped;               ///< AF_INET6 sockets that dial IPv4

    [[nodiscard]] std::string server(int n) const { return std::string(server_prefix) + std::to_string(n); }
    /// As the application dials it.
    [[nodiscard]] SockAddr dial(const std::string& ip, std::uint16_t port) const { return {ip, port, mapped}; }
    [[nodiscard]] weft_addr_port end(const std::string& ip, std::uint16_t port, std::uint8_t proto) const {
        return make_addr_port(*Ip::parse(ip), port, proto);
    }
    [[nodiscard]] int domain() const { return dial(vip, 1).family(); }
};

inline constexpr Family kFamilies[] = {
    {"ipv4", "10.96.0.10", "10.77.0.1", "10.77.0.", false},
    {"ipv6", "fd96::10", "fd77::1", "fd77::", false},
    {"mapped", "10.96.0.10", "10.77.0.1", "10.77.0.", true},
};

class DatapathTest : public ::testing::TestWithParam<Family> {
protected:
    World world;
    const Family& family = GetParam();

    [[nodiscard]] weft_addr_port vip(std::uint16_t port, std::uint8_t proto) const {
        return family.end(family.vip, port, proto);
    }
    [[nodiscard]] weft_addr_port backend(int n, std::uint16_t port, std::uint8_t proto) const {
        return family.end(family.server(n), port, proto);
    }
    /// Listens in the server's namespace on address n.
    UniqueFd serve_tcp(int n, std::uint16_t port) {
        UniqueFd fd;
        world.server.run([&] { fd = listen_on(SockAddr(family.server(n), port)); });
        EXPECT_TRUE(fd.valid());
        return fd;
    }
    UniqueFd serve_udp(int n, std::uint16_t port) {
        UniqueFd fd;
        world.server.run([&] { fd = bound_datagram(SockAddr(family.server(n), port)); });
        EXPECT_TRUE(fd.valid());
        return fd;
    }
    UniqueFd client_socket(int type, int seconds = 2) {
        UniqueFd fd;
        world.client.run([&] { fd = open_socket(family.domain(), type, seconds); });
        return fd;
    }
    [[nodiscard]] std::string shown(const std::string& ip, std::uint16_t port) const {
        return SockAddr(ip, port).text();
    }
};

inline std::string family_name(const ::testing::TestParamInfo<Family>& info) {
    return info.param.name;
}

} // namespace weft::test
