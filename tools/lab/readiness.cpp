// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// TCP connect, HTTP GET (2xx and 3xx are good), or a command's exit code.
#include "tools/lab/readiness.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <charconv>

#include "tools/lab/netns.hpp"
#include "tools/lab/process.hpp"
#include "tools/lab/socket_address.hpp"

namespace weft::lab {
namespace {

Result<UniqueFd> dial(const Ip& ip, std::uint16_t port, int timeout_ms) {
    const auto address = socket_address(ip, port);
    UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) {
        return system_failure("socket");
    }
    if (::connect(fd.get(), address.get(), address.size) != 0) {
        if (errno != EINPROGRESS) {
            return system_failure("connect to port {}", port);
        }
        pollfd done{fd.get(), POLLOUT, 0};
        if (::poll(&done, 1, timeout_ms) != 1) {
            return failure(ETIMEDOUT, "connect to port {}: timed out", port);
        }
        socklen_t length = sizeof errno;
        (void)::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &errno, &length);
        if (errno != 0) {
            return system_failure("connect to port {}", port);
        }
    }
    return fd;
}

Result<> get(const UniqueFd& fd, const std::string& host, const std::string& path, int timeout_ms) {
    const auto request =
        fmt::format("GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: weft-lab\r\nConnection: close\r\n\r\n", path, host);
    if (::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) {
        return system_failure("GET {}", path);
    }
    std::string head;
    while (head.size() < 12) { // "HTTP/1.1 200"
        pollfd readable{fd.get(), POLLIN, 0};
        std::array<char, 512> block{};
        const auto got = ::poll(&readable, 1, timeout_ms) == 1 ? ::recv(fd.get(), block.data(), block.size(), 0) : 0;
        if (got <= 0) {
            return failure(ETIMEDOUT, "GET {}: no answer", path);
        }
        head.append(block.data(), static_cast<std::size_t>(got));
    }
    int status = 0;
    (void)std::from_chars(head.data() + 9, head.data() + 12, status); // stays 0, which is refused, when it is no number
    if (!head.starts_with("HTTP/") || status < 200 || status >= 400) {
        return failure(EPROTO, "GET {}: answered {}", path, head.substr(0, 12));
    }
    return {};
}

} // namespace

std::uint16_t probe_port(const k8s::Probe& probe, const k8s::Container& container) {
    if (const auto* number = std::get_if<std::uint16_t>(&probe.port)) {
        return *number;
    }
    for (const auto& port : container.ports) {
        if (port.name == std::get<std::string>(probe.port)) {
            return port.port;
        }
    }
    return 0;
}

Result<> check_readiness(const k8s::Probe& probe, const ProbeTarget& target) {
    const int timeout_ms = probe.timeout_seconds * 1000;
    if (probe.kind == k8s::Probe::Kind::kExec) {
        WEFT_ASSIGN(
            const auto done,
            run_captured(
                {.argv = probe.command, .env = target.env, .netns = target.pod_netns, .cgroup = target.pod_cgroup},
                timeout_ms));
        if (done.exit_code != 0) {
            return failure(EIO, "'{}' ended with {}", probe.command.front(), done.exit_code);
        }
        return {};
    }
    return in_netns(target.node_netns, [&]() -> Result<> {
        WEFT_ASSIGN(const auto fd, dial(target.ip, target.port, timeout_ms));
        return probe.kind == k8s::Probe::Kind::kTcp ? Result<>()
                                                    : get(fd, target.ip.to_string(), probe.path, timeout_ms);
    });
}

} // namespace weft::lab
