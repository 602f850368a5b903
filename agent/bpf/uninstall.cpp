// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/uninstall.hpp"

#include <bpf/bpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <set>

#include "agent/bpf/pins.hpp"
#include "agent/bpf/veth_guard.hpp"
#include "weft/abi/event.h"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {
namespace {

namespace fs = std::filesystem;

// The cgroups, by the kernel's numbers, to which the links of a version are attached.
std::set<std::uint64_t> governed(const std::string& links) {
    std::set<std::uint64_t> found;
    for (const std::string& name : names_in(links)) {
        const UniqueFd link(bpf_obj_get((links + "/" + name).c_str()));
        bpf_link_info info{};
        __u32 length = sizeof info;
        if (link.valid() && bpf_obj_get_info_by_fd(link.get(), &info, &length) == 0 &&
            info.type == BPF_LINK_TYPE_CGROUP) {
            found.insert(info.cgroup.cgroup_id);
        }
    }
    return found;
}

std::string cgroup2_mount() {
    std::ifstream mounts("/proc/self/mounts");
    for (std::string device, path, type, rest; mounts >> device >> path >> type && std::getline(mounts, rest);) {
        if (type == "cgroup2") {
            return path;
        }
    }
    return {};
}

// A cgroup's number is the inode number of its directory.
Result<> remove_mesh_cgroups(const std::set<std::uint64_t>& below) {
    const auto numbered = [&](const fs::path& path) {
        struct stat status{};
        return ::stat(path.c_str(), &status) == 0 && below.contains(status.st_ino);
    };
    const auto remove = [](const fs::path& governed_path) -> Result<> {
        const fs::path mesh = governed_path / kMeshCgroup;
        if (::rmdir(mesh.c_str()) != 0 && errno != ENOENT) {
            return system_failure("removing cgroup {}", mesh.string());
        }
        return {};
    };
    const std::string mount = cgroup2_mount();
    if (below.empty() || mount.empty()) {
        return {};
    }
    std::vector<fs::path> parents;
    if (numbered(mount)) {
        parents.emplace_back(mount);
    }
    std::error_code error;
    for (fs::recursive_directory_iterator it(mount, fs::directory_options::skip_permission_denied, error), end;
         !error && it != end; it.increment(error)) {
        if (it->is_directory(error) && numbered(it->path())) {
            parents.push_back(it->path());
        }
    }
    for (const auto& parent : parents) {
        WEFT_TRY(remove(parent));
    }
    return {};
}

// Sockets that are joined keep their program and this map; told so, they go back to TCP with the next byte they send.
void end_acceleration(const std::string& version) {
    const UniqueFd config(bpf_obj_get((version + "/maps/weft_config").c_str()));
    const std::uint32_t zero = 0;
    weft_config value{};
    if (config.valid() && bpf_map_lookup_elem(config.get(), &zero, &value) == 0) {
        value.flags |= WEFT_CONFIG_RETIRED;
        (void)bpf_map_update_elem(config.get(), &zero, &value, BPF_ANY); // an array of one: cannot fail
    }
}

} // namespace

Result<> uninstall(const std::string& pin_dir) {
    const PinLayout layout(pin_dir);
    std::vector<std::string> versions = layout.other_versions();
    versions.push_back(layout.version_dir());
    std::set<std::uint64_t> cgroups;
    for (const std::string& directory : versions) {
        const UniqueFd devices(bpf_obj_get((directory + "/maps/weft_veth").c_str()));
        if (devices.valid()) {
            WEFT_TRY(unguard_all(devices.get()));
        }
        end_acceleration(directory);
        cgroups.merge(governed(directory + "/links"));
        WEFT_TRY(remove_version(directory));
    }
    WEFT_TRY(remove_mesh_cgroups(cgroups));
    if (::rmdir(pin_dir.c_str()) != 0 && errno != ENOENT && errno != ENOTEMPTY) {
        return system_failure("removing {}", pin_dir);
    }
    return {};
}

} // namespace weft::bpf
