// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>

#include <cstdlib>
#include <cstring>

namespace weft::mesh {
namespace {

using NameCall = int (*)(int, sockaddr*, socklen_t*);

Result<weft_addr_port> end_of(int fd, NameCall call, const char* what) {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    if (call(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) {
        return system_failure("asking for a connection's {} address", what);
    }
    if (storage.ss_family == AF_INET) {
        sockaddr_in four{};
        std::memcpy(&four, &storage, sizeof four);
        return make_addr_port(Ip::v4(four.sin_addr.s_addr), ntohs(four.sin_port), IPPROTO_TCP);
    }
    sockaddr_in6 six{};
    std::memcpy(&six, &storage, sizeof six);
    weft_addr raw{};
    std::memcpy(&raw, &six.sin6_addr, sizeof raw);
    return make_addr_port(Ip(raw), ntohs(six.sin6_port), IPPROTO_TCP);
}

} // namespace

int family_of(const weft_addr& addr) {
    return Ip(addr).is_v4() ? AF_INET : AF_INET6;
}

SocketAddress::SocketAddress(const weft_addr_port& end) {
    if (const Ip ip(end.addr); ip.is_v4()) {
        sockaddr_in four{};
        four.sin_family = AF_INET;
        four.sin_port = htons(end.port);
        four.sin_addr.s_addr = ip.v4_be();
        std::memcpy(&storage, &four, sizeof four);
        size = sizeof four;
        return;
    }
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(end.port);
    std::memcpy(&six.sin6_addr, &end.addr, sizeof six.sin6_addr);
    std::memcpy(&storage, &six, sizeof six);
    size = sizeof six;
}

Result<weft_addr_port> own_end(int fd) {
    return end_of(fd, ::getsockname, "own");
}

Result<weft_addr_port> other_end(int fd) {
    return end_of(fd, ::getpeername, "peer's");
}

Result<UniqueFd> accept_one(int listener) {
    for (;;) {
        UniqueFd fd(::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (fd.valid() || errno == EAGAIN) {
            return fd;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM || errno == EBADF ||
            errno == EINVAL) {
            return system_failure("accepting a connection");
        }
    }
}

Result<UniqueFd> socket_in(int netns_fd, int home_fd, int family) {
    if (::setns(netns_fd, CLONE_NEWNET) != 0) {
        return system_failure("entering a pod's network namespace");
    }
    UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int code = errno;
    if (::setns(home_fd, CLONE_NEWNET) != 0) {
        std::abort(); // going on here would open other pods' connections in this one
    }
    if (!fd.valid()) {
        return failure(code, "opening a socket in a pod: {}", std::strerror(code));
    }
    return fd;
}

void reset(UniqueFd& fd) {
    if (fd.valid()) {
        const linger now{1, 0};
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now); // cannot fail for a TCP socket
        fd.reset();
    }
}

void close_in_order(UniqueFd& fd) {
    if (fd.valid()) {
        const linger later{0, 0};
        (void)::setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &later, sizeof later); // cannot fail for a TCP socket
        fd.reset();
    }
}

int connect_error(int fd) {
    int error = 0;
    socklen_t size = sizeof error;
    return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

void tune(int fd) {
    const int on = 1;
    const int idle_seconds = 60;
    const linger now{1, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    // None can fail for a TCP socket, and a connection without them still works.
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)::setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    (void)::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
}

} // namespace weft::mesh
