// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do weft-relay and its clients exchange one message of relay_protocol.h, descriptors included? For both ends, so
// it needs nothing but system calls. Results are as those of sendmsg(2) and recvmsg(2), with errno.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <array>
#include <cstddef>
#include <span>

namespace weft::ktls {

inline constexpr std::size_t kMostRights = 2; ///< descriptors that travel with one message at most

/// Never blocks, raises no SIGPIPE. The descriptors stay the caller's.
ssize_t send_message(int socket, std::span<const iovec> parts, std::span<const int> fds = {});

/// What came in one message. The descriptors are the receiver's to close.
struct Arrived {
    ssize_t size;
    int flags; ///< MSG_TRUNC, MSG_CTRUNC: something did not fit
    std::array<int, kMostRights> fds;
    std::size_t count; ///< of fds
};
/// Never blocks. `flags`: MSG_CMSG_CLOEXEC, or 0 for a program that hands its descriptors on.
Arrived receive_message(int socket, std::span<iovec> parts, int flags = 0);

/// False, with ENAMETOOLONG: the path is too long for a unix socket.
bool unix_address(const char* path, sockaddr_un& address);

} // namespace weft::ktls
