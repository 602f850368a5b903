// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/pins.hpp"

#include <bpf/bpf.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <filesystem>

#include "weft/abi/types.h"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {
namespace fs = std::filesystem;
namespace {

std::string version_name() {
    return fmt::format("v{}", WEFT_ABI_VERSION);
}

bool is_version_name(const std::string& name) {
    return name.size() > 1 && name[0] == 'v' && name.find_first_not_of("0123456789", 1) == std::string::npos;
}

// A BPF file system refuses names with a dot.
constexpr const char* kSuffixOfNew = "_new";

} // namespace

std::string PinLayout::version_dir() const {
    return root_ + "/" + version_name();
}

std::vector<std::string> PinLayout::other_versions() const {
    std::vector<std::string> found;
    for (const std::string& name : names_in(root_)) {
        if (is_version_name(name) && name != version_name()) {
            found.push_back(root_ + "/" + name);
        }
    }
    return found;
}

Result<> PinLayout::create() const {
    fs::path existing = root_;
    std::error_code error;
    while (!existing.empty() && existing != existing.parent_path() && !fs::exists(existing, error)) {
        existing = existing.parent_path();
    }
    struct statfs facts{};
    if (::statfs(existing.c_str(), &facts) != 0) {
        return system_failure("looking for the BPF file system of {}", root_);
    }
    if (static_cast<unsigned long>(facts.f_type) != BPF_FS_MAGIC) {
        return failure(ENODEV,
                       "pin directory {} is not on a BPF file system; mount one with `mount -t bpf bpf /sys/fs/bpf` "
                       "or choose another pin directory",
                       root_);
    }
    for (const std::string& directory : {maps_dir(), links_dir(), pods_dir()}) {
        fs::create_directories(directory, error);
        if (error) {
            return failure(error.value(), "creating {}: {}", directory, error.message());
        }
    }
    return {};
}

Result<> pin_over(int fd, const std::string& path) {
    const std::string fresh = path + kSuffixOfNew;
    (void)::unlink(fresh.c_str()); // left by an agent that died between the two steps below
    if (bpf_obj_pin(fd, fresh.c_str()) != 0) {
        return system_failure("pinning {}", fresh);
    }
    if (::rename(fresh.c_str(), path.c_str()) != 0) {
        auto error = system_failure("renaming {} to {}", fresh, path);
        (void)::unlink(fresh.c_str()); // the rename's error is the one to report
        return error;
    }
    return {};
}

std::vector<std::string> names_in(const std::string& directory) {
    std::vector<std::string> names;
    std::error_code error;
    for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
        names.push_back(it->path().filename().string());
    }
    return names;
}

Result<> detach_pinned(const std::string& path) {
    UniqueFd link(bpf_obj_get(path.c_str()));
    if (!link.valid()) {
        if (errno == ENOENT) {
            return {};
        }
        return system_failure("opening pinned link {}", path);
    }
    // ENOLINK, EINVAL: its cgroup is gone, which detached it already; what remains is the pin.
    if (bpf_link_detach(link.get()) != 0 && errno != ENOLINK && errno != EINVAL && errno != EOPNOTSUPP) {
        return system_failure("detaching {}", path);
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return system_failure("removing pin {}", path);
    }
    return {};
}

Result<> remove_version(const std::string& version_dir) {
    for (const char* folder : {"/pods", "/links"}) {
        for (const std::string& name : names_in(version_dir + folder)) {
            WEFT_TRY(detach_pinned(version_dir + folder + "/" + name));
        }
    }
    for (const std::string& name : names_in(version_dir + "/maps")) {
        const std::string path = version_dir + "/maps/" + name;
        if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
            return system_failure("removing pin {}", path);
        }
    }
    for (const std::string& directory :
         {version_dir + "/pods", version_dir + "/links", version_dir + "/maps", version_dir}) {
        if (::rmdir(directory.c_str()) != 0 && errno != ENOENT) {
            return system_failure("removing {}", directory);
        }
    }
    return {};
}

} // namespace weft::bpf
