// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Order matters: processes first (they hold everything else), then namespaces, pins, files.
#include "tools/lab/cleanup.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tools/lab/cgroup.hpp"
#include "tools/lab/netns.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::lab {
namespace {

namespace fs = std::filesystem;

/// Exists while bpffs is mounted by a lab, not by the machine.
std::string mount_mark() {
    return fmt::format("{}/bpffs-mounted-by-lab", kRunRoot);
}

bool bpffs_mounted() {
    struct statfs info{};
    return ::statfs(std::string(kBpffsRoot).c_str(), &info) == 0 &&
           static_cast<unsigned long>(info.f_type) == BPF_FS_MAGIC;
}

Result<> remove_folder(const std::string& path) {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) {
        return failure(error.value(), "cannot remove {}: {}", path, error.message());
    }
    return {};
}

/// Whether somebody else has pinned something there since a lab mounted it. The kernel's own two files do not count.
bool bpffs_used() {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(kBpffsRoot, error)) {
        if (const auto name = entry.path().filename(); name != "maps.debug" && name != "progs.debug") {
            return true;
        }
    }
    return false;
}

/// Whether another lab still has its folder.
bool any_lab_left() {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(kRunRoot, error)) {
        if (entry.is_directory(error)) {
            return true;
        }
    }
    return false;
}

/// The folder that labs share is made by the first and removed by the last of them, one at a time.
UniqueFd lock_run_root() {
    for (;;) {
        std::error_code error;
        fs::create_directories(kRunRoot, error);
        UniqueFd folder(::open(std::string(kRunRoot).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!folder.valid()) {
            if (errno == ENOENT) {
                continue; // the last lab removed it just now
            }
            return folder;
        }
        (void)::flock(folder.get(), LOCK_EX); // cannot fail on a valid descriptor but by a signal, which ends us
        if (::access(fmt::format("/proc/self/fd/{}/.", folder.get()).c_str(), F_OK) == 0 &&
            fs::exists(kRunRoot, error)) {
            return folder;
        }
    }
}

} // namespace

Result<> ensure_bpffs() {
    const auto lock = lock_run_root();
    if (bpffs_mounted()) {
        return {};
    }
    if (::mount("bpf", std::string(kBpffsRoot).c_str(), "bpf", 0, "mode=0700") != 0) {
        return system_failure("cannot mount bpffs at {}", kBpffsRoot);
    }
    std::ofstream(mount_mark()) << "\n";
    return {};
}

bool exists(const Names& names) {
    std::error_code error;
    const auto cgroup = cgroup_path(names.cgroup());
    return fs::exists(names.run_dir(), error) || fs::exists(names.pins(), error) ||
           !list_netns(names.netns_prefix()).empty() || (cgroup && fs::exists(*cgroup, error));
}

Result<> destroy(const Names& names) {
    Result<> first;
    const auto note = [&first](Result<> result) {
        if (!result && first) {
            first = std::move(result);
        }
    };
    if (const auto cgroup = cgroup_path(names.cgroup())) {
        note(remove_cgroup(*cgroup));
    }
    for (const auto& netns : list_netns(names.netns_prefix())) {
        note(remove_netns(netns));
    }
    note(remove_folder(names.pins()));
    const auto lock = lock_run_root();
    note(remove_folder(names.run_dir()));
    std::error_code error;
    if (!any_lab_left()) {
        if (fs::exists(mount_mark(), error) && (bpffs_used() || ::umount2(std::string(kBpffsRoot).c_str(), 0) == 0)) {
            fs::remove(mount_mark(), error);
        }
        // Only when empty: the agent of the machine itself may keep its files next to ours.
        (void)::rmdir(std::string(kRunRoot).c_str());
        (void)::rmdir(fs::path(kRunRoot).parent_path().c_str());
    }
    return first;
}

std::vector<std::string> list_labs() {
    std::set<std::string> labs;
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(kRunRoot, error)) {
        if (entry.is_directory(error)) {
            labs.insert(entry.path().filename().string());
        }
    }
    for (const auto& netns : list_netns("weft-")) {
        if (netns.ends_with("-wire")) {
            labs.insert(netns.substr(5, netns.size() - 10));
        }
    }
    return {labs.begin(), labs.end()};
}

} // namespace weft::lab
