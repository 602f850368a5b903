// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tools/lab/socket_address.hpp"

#include <arpa/inet.h>

#include <cstring>

namespace weft::lab {

SocketAddress socket_address(const Ip& ip, std::uint16_t port) {
    SocketAddress address;
    if (ip.is_v4()) {
        auto* four = reinterpret_cast<sockaddr_in*>(&address.storage);
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        four->sin_addr.s_addr = ip.v4_be();
        address.size = sizeof *four;
    } else {
        auto* six = reinterpret_cast<sockaddr_in6*>(&address.storage);
        six->sin6_family = AF_INET6;
        six->sin6_port = htons(port);
        std::memcpy(&six->sin6_addr, &ip.raw(), sizeof six->sin6_addr);
        address.size = sizeof *six;
    }
    return address;
}

Ip ip_of(const SocketAddress& address) {
    if (address.storage.ss_family == AF_INET) {
        return Ip::v4(reinterpret_cast<const sockaddr_in*>(&address.storage)->sin_addr.s_addr);
    }
    weft_addr raw{};
    std::memcpy(&raw, &reinterpret_cast<const sockaddr_in6*>(&address.storage)->sin6_addr, sizeof raw);
    return Ip(raw);
}

} // namespace weft::lab
