// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/pod_sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "agent/mesh/sockets.hpp"

namespace weft::mesh {
namespace {

constexpr int kBacklog = 1024;
constexpr int kPortAttempts = 16;

/// What the child sends along with its descriptors.
struct Report {
    int code = 0;  ///< errno; 0: all went well
    int step = 0;  ///< index into kSteps
    int count = 0; ///< descriptors: dial4, carrier4, and with IPv6 dial6, carrier6
    std::uint16_t dial_port = 0;
};

constexpr std::array kSteps{"joining its cgroup", "entering the network namespace", "opening a listener for IPv4",
                            "opening a listener for IPv6 on the same port"};

// Everything from here to run_child() runs between fork and _exit in a copy of a process with threads: system calls
// only, no allocation, no locks.

int listener(int family, std::uint16_t port) {
    weft_addr addr{};
    addr.word[2] = family == AF_INET ? WEFT_V4_MAPPED_WORD : 0;
    addr.word[3] = htonl(family == AF_INET ? 0x7f000001U : 1U);
    const SocketAddress at(weft_addr_port{addr, port, IPPROTO_TCP, 0});
    const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // What a carrier listener accepts has the application's port, and inherits this: the application may be started
    // again while such connections live.
    const int on = 1;
    if (fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        ::bind(fd, at.get(), at.size) == 0 && ::listen(fd, kBacklog) == 0) {
        return fd;
    }
    const int code = errno;
    if (fd >= 0) {
        ::close(fd);
    }
    errno = code;
    return -1;
}

std::uint16_t port_of(int fd) {
    sockaddr_in name{};
    socklen_t size = sizeof name;
    return ::getsockname(fd, reinterpret_cast<sockaddr*>(&name), &size) == 0 ? ntohs(name.sin_port) : std::uint16_t{0};
}

/// Both families on one port, as the hooks know one. IPv6 may be off in the namespace.
int open_listeners(Report& report, std::array<int, 4>& fds) {
    for (int attempt = 0; attempt < kPortAttempts; ++attempt) {
        report.step = 2;
        fds[0] = listener(AF_INET, 0);
        if (fds[0] < 0) {
            return errno;
        }
        report.dial_port = port_of(fds[0]);
        report.step = 3;
        fds[2] = listener(AF_INET6, report.dial_port);
        const int code = fds[2] < 0 ? errno : 0;
        if (code == EADDRINUSE) {
            ::close(fds[0]);
            continue;
        }
        if (code != 0 && code != EADDRNOTAVAIL && code != EAFNOSUPPORT) {
            return code;
        }
        fds[1] = listener(AF_INET, 0);
        if (fds[1] < 0) {
            return errno;
        }
        if (code == 0) {
            fds[3] = listener(AF_INET6, 0);
            if (fds[3] < 0) {
                return errno;
            }
        }
        report.count = code == 0 ? 4 : 2;
        return 0;
    }
    return EADDRINUSE;
}

void send_report(int channel, const Report& report, const std::array<int, 4>& fds) {
    Report copy = report;
    iovec content{&copy, sizeof copy};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 4)> control{};
    msghdr message{};
    message.msg_iov = &content;
    message.msg_iovlen = 1;
    if (report.count > 0) {
        const std::size_t bytes = sizeof(int) * static_cast<std::size_t>(report.count);
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(bytes);
        cmsghdr* head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(bytes);
        std::memcpy(CMSG_DATA(head), fds.data(), bytes);
    }
    (void)::sendmsg(channel, &message, MSG_NOSIGNAL); // the parent sees the end of the channel instead
}

[[noreturn]] void run_child(int channel, int procs, int netns) {
    Report report;
    std::array<int, 4> fds{-1, -1, -1, -1};
    if (procs >= 0 && ::write(procs, "0", 1) != 1) {
        report.code = errno;
    } else {
        report.step = 1;
        report.code = ::setns(netns, CLONE_NEWNET) != 0 ? errno : open_listeners(report, fds);
    }
    if (report.code != 0) {
        report.count = 0;
    }
    send_report(channel, report, fds);
    ::_exit(0);
}

Result<PodSockets> receive(int channel) {
    Report report;
    iovec content{&report, sizeof report};
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * 4)> control{};
    msghdr message{};
    message.msg_iov = &content;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t got = 0;
    do {
        got = ::recvmsg(channel, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got != static_cast<ssize_t>(sizeof report)) {
        return failure(EIO, "opening listeners in a pod: the helper ended early");
    }
    std::array<UniqueFd, 4> fds;
    if (const cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr && head->cmsg_type == SCM_RIGHTS) {
        const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count && i < fds.size(); ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(head) + i * sizeof fd, sizeof fd);
            fds[i].reset(fd);
        }
    }
    if (report.code != 0) {
        return failure(report.code, "opening listeners in a pod: {}: {}", kSteps[static_cast<std::size_t>(report.step)],
                       std::strerror(report.code));
    }
    PodSockets sockets;
    sockets.dial_port = report.dial_port;
    sockets.dial4 = std::move(fds[0]);
    sockets.carrier4 = std::move(fds[1]);
    sockets.dial6 = std::move(fds[2]);
    sockets.carrier6 = std::move(fds[3]);
    return sockets;
}

} // namespace

Result<PodSockets> make_pod_sockets(const std::string& netns_path, const std::string& cgroup) {
    UniqueFd netns(::open(netns_path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid()) {
        return system_failure("opening network namespace {}", netns_path);
    }
    const std::string procs_path = cgroup + "/cgroup.procs";
    const UniqueFd procs(::open(procs_path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!procs.valid()) {
        return system_failure("opening {}", procs_path);
    }
    std::array<int, 2> ends{-1, -1};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        return system_failure("making a channel to the helper");
    }
    UniqueFd parent(ends[0]);
    UniqueFd child(ends[1]);
    const pid_t pid = ::fork();
    if (pid < 0) {
        return system_failure("starting the helper that opens listeners in a pod");
    }
    if (pid == 0) {
        run_child(child.get(), procs.get(), netns.get());
    }
    child.reset();
    auto sockets = receive(parent.get());
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (sockets) {
        sockets->netns = std::move(netns);
    }
    return sockets;
}

} // namespace weft::mesh
