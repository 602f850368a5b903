// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/netns.hpp"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <system_error>
#include <thread>

#include "weft/base/unique_fd.hpp"

namespace weft::bpf {

Result<> in_netns(const std::string& path, const std::function<Result<>()>& action) {
    const UniqueFd netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid()) {
        return system_failure("opening network namespace {}", path);
    }
    Result<> result;
    try {
        std::thread worker([&] {
            if (::setns(netns.get(), CLONE_NEWNET) != 0) {
                result = system_failure("entering network namespace {}", path);
                return;
            }
            result = action();
        });
        worker.join();
    } catch (const std::system_error& error) {
        return failure(error.code().value(), "starting a thread for network namespace {}: {}", path, error.what());
    }
    return result;
}

Result<std::uint64_t> netns_cookie(const std::string& path) {
    std::uint64_t cookie = 0;
    WEFT_TRY(in_netns(path, [&]() -> Result<> {
        const UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        if (!socket.valid()) {
            return system_failure("opening a socket in network namespace {}", path);
        }
        socklen_t length = sizeof cookie;
        if (::getsockopt(socket.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
            return system_failure("asking for the cookie of network namespace {}", path);
        }
        return {};
    }));
    return cookie;
}

} // namespace weft::bpf
