// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// cgroupfs by its files; processes are always found by group, never by name.
#include "tools/lab/cgroup.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "weft/base/unique_fd.hpp"

namespace weft::lab {
namespace {

namespace fs = std::filesystem;

Result<> write_file(const std::string& path, const std::string& text) {
    const UniqueFd fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!fd.valid() || ::write(fd.get(), text.data(), text.size()) < 0) {
        return system_failure("cannot write '{}' to {}", text, path);
    }
    return {};
}

/// The group and everything below it, deepest last.
std::vector<std::string> subtree(const std::string& path) {
    std::vector<std::string> groups{path};
    std::error_code error;
    for (auto it = fs::recursive_directory_iterator(path, error); !error && it != fs::recursive_directory_iterator();
         it.increment(error)) {
        if (it->is_directory(error)) {
            groups.push_back(it->path().string());
        }
    }
    return groups;
}

} // namespace

Result<std::string> cgroup_mount() {
    std::ifstream mounts("/proc/mounts");
    for (std::string line; std::getline(mounts, line);) {
        std::istringstream fields(line);
        std::string device;
        std::string where;
        std::string type;
        fields >> device >> where >> type;
        if (type == "cgroup2") {
            return where;
        }
    }
    return failure(ENOENT, "cgroup v2 is not mounted: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
}

Result<std::string> cgroup_path(const std::string& below_mount) {
    WEFT_ASSIGN(const auto mount, cgroup_mount());
    return mount + "/" + below_mount;
}

Result<> create_cgroup(const std::string& path) {
    std::error_code error;
    fs::create_directories(path, error);
    if (error) {
        return failure(error.value(), "cannot make cgroup {}: {} (are you root?)", path, error.message());
    }
    return {};
}

Result<> join_cgroup(const std::string& path, pid_t pid) {
    return write_file(path + "/cgroup.procs", std::to_string(pid));
}

std::size_t cgroup_population(const std::string& path) {
    std::size_t count = 0;
    for (const auto& group : subtree(path)) {
        std::ifstream procs(group + "/cgroup.procs");
        for (std::string line; std::getline(procs, line);) {
            ++count;
        }
    }
    return count;
}

Result<> kill_cgroup(const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0) {
        return {};
    }
    return write_file(path + "/cgroup.kill", "1");
}

Result<> remove_cgroup(const std::string& path) {
    if (::access(path.c_str(), F_OK) != 0) {
        return {};
    }
    WEFT_TRY(kill_cgroup(path));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    for (;;) {
        // rmdir fails with EBUSY until the last killed process is reaped; cgroup.events wakes us when that happens.
        auto groups = subtree(path);
        bool gone = true;
        for (auto group = groups.rbegin(); group != groups.rend(); ++group) {
            gone = (::rmdir(group->c_str()) == 0 || errno == ENOENT) && gone;
        }
        if (gone) {
            return {};
        }
        if (std::chrono::steady_clock::now() > deadline) {
            return failure(EBUSY, "cgroup {} cannot be removed: {} processes are still in it", path,
                           cgroup_population(path));
        }
        const UniqueFd events(::open((path + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
        std::array<char, 128> text{};
        (void)!::read(events.get(), text.data(), text.size()); // arms the poll; what it says is read by rmdir's answer
        pollfd changed{events.get(), POLLPRI, 0};
        (void)::poll(&changed, 1, 10);
    }
}

} // namespace weft::lab
