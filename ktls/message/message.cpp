// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// sendmsg and recvmsg with SCM_RIGHTS.
#include "ktls/message/message.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace weft::ktls {

ssize_t send_message(int socket, std::span<const iovec> parts, std::span<const int> fds) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostRights * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(parts.data());
    message.msg_iovlen = parts.size();
    if (!fds.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(fds.size_bytes());
        auto* rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
    }
    return ::sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

Arrived receive_message(int socket, std::span<iovec> parts, int flags) {
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kMostRights * sizeof(int))> control{};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    Arrived arrived{};
    arrived.size = ::recvmsg(socket, &message, flags | MSG_DONTWAIT);
    if (arrived.size < 0) {
        return arrived;
    }
    arrived.flags = message.msg_flags;
    if (const auto* rights = CMSG_FIRSTHDR(&message);
        rights != nullptr && rights->cmsg_level == SOL_SOCKET && rights->cmsg_type == SCM_RIGHTS) {
        arrived.count = std::min((rights->cmsg_len - CMSG_LEN(0)) / sizeof(int), kMostRights);
        std::memcpy(arrived.fds.data(), CMSG_DATA(rights), arrived.count * sizeof(int));
    }
    return arrived;
}

bool unix_address(const char* path, sockaddr_un& address) {
    address = {};
    address.sun_family = AF_UNIX;
    const std::size_t length = std::strlen(path);
    if (length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return false;
    }
    std::memcpy(address.sun_path, path, length);
    return true;
}

} // namespace weft::ktls
