// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Unnamed network namespaces.
#include "tests/net/cni/pod_netns.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

namespace weft::test {
namespace {

#ifndef SO_NETNS_COOKIE
constexpr int kSoNetnsCookie = 71;
#else
constexpr int kSoNetnsCookie = SO_NETNS_COOKIE;
#endif

Result<std::uint64_t> own_cookie() {
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    std::uint64_t cookie = 0;
    socklen_t length = sizeof cookie;
    if (!socket.valid() || ::getsockopt(socket.get(), SOL_SOCKET, kSoNetnsCookie, &cookie, &length) != 0) {
        return system_failure("SO_NETNS_COOKIE");
    }
    return cookie;
}

} // namespace

Result<> enter_new_netns() {
    if (::unshare(CLONE_NEWNET) != 0) {
        return system_failure("unshare(CLONE_NEWNET)");
    }
    const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::string("lo").copy(request.ifr_name, sizeof request.ifr_name - 1);
    request.ifr_flags = IFF_UP;
    if (!socket.valid() || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) {
        return system_failure("lo up");
    }
    // Plugins wait for duplicate address detection, a second each time; nobody else is in this namespace.
    const UniqueFd detection(::open("/proc/sys/net/ipv6/conf/default/accept_dad", O_WRONLY | O_CLOEXEC));
    if (!detection.valid() || ::write(detection.get(), "0", 1) != 1) {
        return system_failure("accept_dad");
    }
    return {};
}

Result<std::uint64_t> cookie_of_netns(const std::string& path) {
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) {
        return system_failure("open {}", path);
    }
    Result<std::uint64_t> cookie = 0;
    std::thread([&] {
        cookie = ::setns(fd.get(), CLONE_NEWNET) == 0 ? own_cookie()
                                                      : Result<std::uint64_t>(system_failure("setns {}", path));
    }).join();
    return cookie;
}

Result<PodNetns> PodNetns::create() {
    Result<> made;
    UniqueFd fd;
    std::thread([&] {
        made = enter_new_netns();
        fd.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    }).join();
    WEFT_TRY(made);
    if (!fd.valid()) {
        return system_failure("open the new namespace");
    }
    return PodNetns(std::move(fd));
}

std::string PodNetns::path() const {
    return fmt::format("/proc/{}/fd/{}", ::getpid(), number_);
}

void PodNetns::run(const std::function<void()>& work) const {
    std::thread([&] {
        if (::setns(fd_.get(), CLONE_NEWNET) == 0) {
            work();
        }
    }).join();
}

} // namespace weft::test
