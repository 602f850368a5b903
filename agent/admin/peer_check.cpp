// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Peer credentials as the kernel recorded them at connect(2): a process cannot lie about them.
#include "agent/admin/peer_check.hpp"

#include <grp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#ifndef SO_PEERGROUPS
#define SO_PEERGROUPS 59
#endif

namespace weft::admin {

gid_t group_id(const std::string& name) {
    std::array<char, 16384> buffer{};
    group entry{};
    group* found = nullptr;
    if (name.empty() || ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 ||
        found == nullptr) {
        return static_cast<gid_t>(-1);
    }
    return found->gr_gid;
}

Result<> check_peer(int fd, gid_t allowed) {
    ucred peer{};
    socklen_t size = sizeof peer;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return system_failure("the kernel does not tell who connected to the admin socket");
    }
    if (peer.uid == 0) {
        return {};
    }
    if (allowed != static_cast<gid_t>(-1)) {
        if (peer.gid == allowed) {
            return {};
        }
        std::array<gid_t, 1024> groups{};
        socklen_t bytes = sizeof groups;
        if (::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) == 0 &&
            std::find(groups.begin(), groups.begin() + bytes / sizeof(gid_t), allowed) !=
                groups.begin() + bytes / sizeof(gid_t)) {
            return {};
        }
    }
    return failure(EACCES, "user {} may not use the admin socket: it is neither root nor in the agent's group",
                   peer.uid);
}

} // namespace weft::admin
