// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How is the enrolment socket made, so that nobody but root can reach it at any moment, and a living agent's socket is
// never taken away?
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::enrol {

struct ListenSocket {
    UniqueFd fd;  ///< non-blocking, close-on-exec
    dev_t device = 0; ///< of the socket file, to tell it from a successor's
    ino_t inode = 0;
};

/// Listens at `path`, mode 0600; makes the folder (0755) when missing, replaces a dead process's socket.
/// Errors: EADDRINUSE when somebody answers there, EEXIST when the path is no socket, EINVAL when it is too long.
Result<ListenSocket> listen_unix(const std::string& path);

/// Removes the socket file unless it belongs to somebody else by now.
void unlink_unix(const std::string& path, const ListenSocket& socket);

/// Effective uid of the process at the other end. Error: errno of getsockopt.
Result<uid_t> peer_uid(int fd);

} // namespace weft::enrol
