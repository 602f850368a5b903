// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Plain socket calls for tests, each returning what the kernel said: 0 or an errno value.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cstring>
#include <string>
#include <utility>

#include "weft/base/ip.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::test {

/// An address as the socket calls want it. `mapped`: an IPv4 address for an AF_INET6 socket.
struct SockAddr {
    sockaddr_storage storage{};
    socklen_t size = 0;

    SockAddr() : size(sizeof storage) {}
    SockAddr(const std::string& ip, std::uint16_t port, bool mapped = false) {
        const Ip parsed = *Ip::parse(ip);
        if (parsed.is_v4() && !mapped) {
            sockaddr_in four{};
            four.sin_family = AF_INET;
            four.sin_port = htons(port);
            four.sin_addr.s_addr = parsed.v4_be();
            std::memcpy(&storage, &four, sizeof four);
            size = sizeof four;
        } else {
            sockaddr_in6 six{};
            six.sin6_family = AF_INET6;
            six.sin6_port = htons(port);
            std::memcpy(&six.sin6_addr, &parsed.raw(), 16);
            std::memcpy(&storage, &six, sizeof six);
            size = sizeof six;
        }
    }
    [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
    sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
    [[nodiscard]] int family() const { return storage.ss_family; }
    /// "10.0.0.1:80", "[fd00::1]:80"
    [[nodiscard]] std::string text() const {
        if (family() == AF_INET) {
            sockaddr_in four{};
            std::memcpy(&four, &storage, sizeof four);
            return Ip::v4(four.sin_addr.s_addr).to_string() + ":" + std::to_string(ntohs(four.sin_port));
        }
        sockaddr_in6 six{};
        std::memcpy(&six, &storage, sizeof six);
        weft_addr raw{};
        std::memcpy(&raw, &six.sin6_addr, 16);
        const Ip ip(raw);
        return (ip.is_v4() ? ip.to_string() : "[" + ip.to_string() + "]") + ":" + std::to_string(ntohs(six.sin6_port));
    }
};

/// A socket with 2 s time limits, so that a lost packet fails a test instead of hanging it.
inline UniqueFd open_socket(int family, int type, int seconds = 2) {
    UniqueFd fd(::socket(family, type | SOCK_CLOEXEC, 0));
    const timeval limit{seconds, 0};
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    return fd;
}

/// 0 or errno.
inline int connect_to(int fd, const SockAddr& to) {
    return ::connect(fd, to.get(), to.size) == 0 ? 0 : errno;
}

inline UniqueFd listen_on(const SockAddr& at, int backlog = 128) {
    UniqueFd fd = open_socket(at.family(), SOCK_STREAM);
    const int one = 1;
    (void)::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (::bind(fd.get(), at.get(), at.size) != 0 || ::listen(fd.get(), backlog) != 0) {
        fd.reset();
    }
    return fd;
}

inline UniqueFd bound_datagram(const SockAddr& at) {
    UniqueFd fd = open_socket(at.family(), SOCK_DGRAM);
    if (::bind(fd.get(), at.get(), at.size) != 0) {
        fd.reset();
    }
    return fd;
}

inline std::string peer_name(int fd) {
    SockAddr name;
    return ::getpeername(fd, name.get(), &name.size) == 0 ? name.text() : std::strerror(errno);
}

inline std::string own_name(int fd) {
    SockAddr name;
    return ::getsockname(fd, name.get(), &name.size) == 0 ? name.text() : std::strerror(errno);
}

/// 0 or errno.
inline int send_text(int fd, const std::string& text, const SockAddr& to) {
    return ::sendto(fd, text.data(), text.size(), 0, to.get(), to.size) >= 0 ? 0 : errno;
}
inline int send_text(int fd, const std::string& text) {
    return ::send(fd, text.data(), text.size(), MSG_NOSIGNAL) >= 0 ? 0 : errno;
}

/// Text and the sender's address; on failure the text is "!" and errno's name.
inline std::pair<std::string, std::string> receive(int fd) {
    char buffer[2048];
    SockAddr from;
    const ssize_t size = ::recvfrom(fd, buffer, sizeof buffer, 0, from.get(), &from.size);
    if (size < 0) {
        return {std::string("!") + strerrorname_np(errno), ""};
    }
    return {std::string(buffer, static_cast<std::size_t>(size)), from.size > 0 ? from.text() : ""};
}

} // namespace weft::test
