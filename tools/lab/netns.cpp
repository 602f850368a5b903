// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Named namespaces are bind mounts of /proc/.../ns/net, made on a thread that unshares and then ends.
#include "tools/lab/netns.hpp"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <thread>

#include <fmt/ranges.h>

#include "tools/lab/names.hpp"
#include "tools/lab/process.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::lab {
namespace {

Result<> loopback_up() {
    const UniqueFd control(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    std::strcpy(request.ifr_name, "lo");
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    if (!control.valid() || ::ioctl(control.get(), SIOCSIFFLAGS, &request) != 0) {
        return system_failure("cannot bring loopback up in a new network namespace");
    }
    return {};
}

Result<> run_on_thread(const std::function<Result<>()>& work) {
    Result<> result;
    std::thread([&] { result = work(); }).join();
    return result;
}

} // namespace

Result<> create_netns(const std::string& name) {
    std::error_code error;
    std::filesystem::create_directories(kNetnsRoot, error);
    const auto path = netns_path(name);
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444));
    if (!file.valid()) {
        return system_failure("cannot make network namespace {}", name);
    }
    auto made = run_on_thread([&]() -> Result<> {
        if (::unshare(CLONE_NEWNET) != 0) {
            return system_failure("cannot make network namespace {} (are you root?)", name);
        }
        WEFT_TRY(loopback_up());
        // Without DAD an address is usable at once; the lab's addresses are unique by construction.
        WEFT_TRY(write_sysctls({{"net/ipv6/conf/all/accept_dad", "0"},
                                {"net/ipv6/conf/default/accept_dad", "0"},
                                {"net/ipv6/conf/default/dad_transmits", "0"},
                                {"net/ipv6/conf/default/accept_ra", "0"},
                                {"net/ipv4/conf/all/rp_filter", "0"},
                                {"net/ipv4/conf/default/rp_filter", "0"},
                                {"net/ipv4/ping_group_range", "0 2147483647"},
                                {"net/ipv4/ip_unprivileged_port_start", "0"}}));
        const auto self = fmt::format("/proc/self/task/{}/ns/net", ::gettid());
        if (::mount(self.c_str(), path.c_str(), "none", MS_BIND, nullptr) != 0) {
            return system_failure("cannot mount network namespace {}", name);
        }
        return {};
    });
    if (!made) {
        (void)::unlink(path.c_str()); // the failure below is what the caller needs to hear
    }
    return made;
}

Result<> remove_netns(const std::string& name) {
    const auto path = netns_path(name);
    while (::umount2(path.c_str(), MNT_DETACH) == 0) {
        // A name that was mounted over again has several layers; EINVAL ends the loop.
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return system_failure("cannot remove network namespace {}", name);
    }
    return {};
}

std::vector<std::string> list_netns(const std::string& prefix) {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(kNetnsRoot, error)) {
        if (auto name = entry.path().filename().string(); name.starts_with(prefix)) {
            names.push_back(std::move(name));
        }
    }
    return names;
}

Result<> in_netns(const std::string& path, const std::function<Result<>()>& work) {
    const UniqueFd netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid()) {
        return system_failure("cannot open network namespace {}", path);
    }
    return run_on_thread([&]() -> Result<> {
        if (::setns(netns.get(), CLONE_NEWNET) != 0) {
            return system_failure("cannot enter network namespace {}", path);
        }
        return work();
    });
}

Result<> write_sysctls(const std::vector<std::pair<std::string, std::string>>& settings) {
    for (const auto& [name, value] : settings) {
        const auto path = "/proc/sys/" + name;
        const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
        if (!file.valid() && errno == ENOENT) {
            continue; // a kernel without IPv6, or without this switch, needs no switching off
        }
        if (::write(file.get(), value.data(), value.size()) < 0) {
            return system_failure("cannot set {} to {}", name, value);
        }
    }
    return {};
}

Result<> ip_batch(const std::string& netns, const std::vector<std::string>& lines) {
    if (lines.empty()) {
        return {};
    }
    const auto script = fmt::format("{}\n", fmt::join(lines, "\n"));
    WEFT_ASSIGN(const auto ip, find_program("ip"));
    WEFT_ASSIGN(const auto done, run_captured({.argv = {ip, "-n", netns, "-batch", "-"}, .input = script}));
    if (done.exit_code != 0) {
        return failure(EIO, "ip -n {} -batch: {} (of: {})", netns, done.error_output, script);
    }
    return {};
}

void ip_batch_best_effort(const std::string& netns, const std::vector<std::string>& lines) {
    if (const auto ip = find_program("ip"); ip && !lines.empty()) {
        (void)run_captured({.argv = {*ip, "-n", netns, "-force", "-batch", "-"},
                            .input = fmt::format("{}\n", fmt::join(lines, "\n"))});
    }
}

} // namespace weft::lab
