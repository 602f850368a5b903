// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The listening unix socket: created at a side name, moved into place when it is ready.
#include "agent/enrol/socket.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

namespace weft::enrol {
namespace {

constexpr int kBacklog = 128;

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.front() != '/' || path.size() >= sizeof address.sun_path) {
        return invalid("socket path \"{}\": give an absolute path of at most {} characters", path,
                       sizeof address.sun_path - 1);
    }
    path.copy(address.sun_path, path.size());
    return address;
}

const sockaddr* generic(const sockaddr_un& address) {
    return reinterpret_cast<const sockaddr*>(&address);
}

Result<> refuse_living(const std::string& path, const sockaddr_un& address) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        return errno == ENOENT ? Result<>{} : system_failure("stat {}", path);
    }
    if (!S_ISSOCK(status.st_mode)) {
        return failure(EEXIST, "{} is in the way and is no socket: remove it or choose another path", path);
    }
    const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe.valid()) {
        return system_failure("socket for {}", path);
    }
    // EAGAIN is a living listener with a full queue.
    if (::connect(probe.get(), generic(address), sizeof address) == 0 || errno == EAGAIN) {
        return failure(EADDRINUSE, "another process listens on {}: stop it or choose another path", path);
    }
    return {};
}

} // namespace

Result<ListenSocket> listen_unix(const std::string& path) {
    WEFT_ASSIGN(const sockaddr_un address, address_of(path));
    const std::string side = path + ".new";
    WEFT_ASSIGN(const sockaddr_un side_address, address_of(side));
    std::error_code error;
    std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
    if (error) {
        return failure(error.value(), "cannot make the folder of {}: {}", path, error.message());
    }
    WEFT_TRY(refuse_living(path, address));

    ListenSocket out;
    out.fd = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!out.fd.valid()) {
        return system_failure("socket for {}", path);
    }
    // Linux gives the file the socket's own mode (less the umask), so there is no moment at which others may connect.
    if (::fchmod(out.fd.get(), 0600) != 0) {
        return system_failure("fchmod of the socket for {}", path);
    }
    (void)::unlink(side.c_str()); // left by a killed process; bind tells if it cannot be removed
    if (::bind(out.fd.get(), generic(side_address), sizeof side_address) != 0) {
        return system_failure("bind {}", side);
    }
    struct stat status{};
    if (::listen(out.fd.get(), kBacklog) != 0 || ::stat(side.c_str(), &status) != 0 ||
        ::rename(side.c_str(), path.c_str()) != 0) {
        const int code = errno;
        (void)::unlink(side.c_str()); // best effort: the failure above is the one to report
        return failure(code, "listen on {}: {}", path, std::strerror(code));
    }
    out.device = status.st_dev;
    out.inode = status.st_ino;
    return out;
}

void unlink_unix(const std::string& path, const ListenSocket& socket) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) == 0 && status.st_dev == socket.device && status.st_ino == socket.inode) {
        (void)::unlink(path.c_str()); // a file that stays is replaced by the next start
    }
}

Result<uid_t> peer_uid(int fd) {
    ucred peer{};
    socklen_t length = sizeof peer;
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) {
        return system_failure("SO_PEERCRED");
    }
    return peer.uid;
}

} // namespace weft::enrol
