// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Ip and port as the kernel's socket address, both ways.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include "weft/base/ip.hpp"

namespace weft::lab {

struct SocketAddress {
    sockaddr_storage storage = {};
    socklen_t size = sizeof(sockaddr_storage);

    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

/// `port` in host order; raw sockets want 0.
SocketAddress socket_address(const Ip& ip, std::uint16_t port);

/// The address part.
Ip ip_of(const SocketAddress& address);

} // namespace weft::lab
