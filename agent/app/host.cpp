// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/host.hpp"

#include <ifaddrs.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <memory>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 // linux 5.14; bookworm's libc headers have it only on some architectures
#endif

namespace weft::app {

Result<std::vector<Ip>> host_addresses() {
    ifaddrs* first = nullptr;
    if (::getifaddrs(&first) != 0) {
        return system_failure("cannot list this node's addresses");
    }
    const std::unique_ptr<ifaddrs, decltype(&::freeifaddrs)> guard(first, ::freeifaddrs);
    std::vector<Ip> addresses;
    for (const ifaddrs* entry = first; entry != nullptr; entry = entry->ifa_next) {
        if (entry->ifa_addr == nullptr) {
            continue;
        }
        Ip ip;
        if (entry->ifa_addr->sa_family == AF_INET) {
            sockaddr_in four{};
            std::memcpy(&four, entry->ifa_addr, sizeof four);
            ip = Ip::v4(four.sin_addr.s_addr);
        } else if (entry->ifa_addr->sa_family == AF_INET6) {
            sockaddr_in6 six{};
            std::memcpy(&six, entry->ifa_addr, sizeof six);
            if (IN6_IS_ADDR_LINKLOCAL(&six.sin6_addr)) {
                continue;
            }
            weft_addr raw{};
            std::memcpy(&raw, &six.sin6_addr, sizeof raw);
            ip = Ip(raw);
        } else {
            continue;
        }
        if (!ip.is_loopback()) {
            addresses.push_back(ip);
        }
    }
    std::ranges::sort(addresses);
    addresses.erase(std::ranges::unique(addresses).begin(), addresses.end());
    return addresses;
}

Result<UniqueFd> watch_addresses() {
    UniqueFd fd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE));
    sockaddr_nl local{};
    local.nl_family = AF_NETLINK;
    local.nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
    if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) {
        return system_failure("cannot watch this node's addresses");
    }
    return fd;
}

void drain(int fd) {
    std::array<char, 8192> buffer{};
    while (::recv(fd, buffer.data(), buffer.size(), MSG_DONTWAIT) > 0 || errno == ENOBUFS) {
        errno = 0; // an overrun loses messages, but their only content is "look again"
    }
}

Result<std::string> cgroup2_mount() {
    std::ifstream mounts("/proc/mounts");
    std::string device, path, type, rest;
    while (mounts >> device >> path >> type && std::getline(mounts, rest)) {
        if (type == "cgroup2") {
            return path;
        }
    }
    return failure(ENOENT, "no cgroup v2 file system is mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
}

Result<std::uint64_t> own_netns_cookie() {
    const UniqueFd fd(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    if (!fd.valid() || ::getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) != 0) {
        return system_failure("cannot read the network namespace cookie (Linux 5.14 or newer is needed)");
    }
    return cookie;
}

} // namespace weft::app
