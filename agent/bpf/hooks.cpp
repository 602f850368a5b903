// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/hooks.hpp"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

namespace weft::bpf {
namespace {

// Tagging before judging, the way back before the way there, the packet level last: it relies on all others.
int rank(int attach_type) {
    switch (attach_type) {
    case BPF_CGROUP_INET_SOCK_CREATE:
    case BPF_CGROUP_INET_SOCK_RELEASE:
    case BPF_CGROUP_SOCK_OPS:
        return 0;
    case BPF_CGROUP_UDP4_RECVMSG:
    case BPF_CGROUP_UDP6_RECVMSG:
    case BPF_CGROUP_INET4_GETPEERNAME:
    case BPF_CGROUP_INET6_GETPEERNAME:
    case BPF_CGROUP_INET4_GETSOCKNAME:
    case BPF_CGROUP_INET6_GETSOCKNAME:
        return 1;
    case BPF_CGROUP_INET_INGRESS:
    case BPF_CGROUP_INET_EGRESS:
        return 3;
    default:
        return 2;
    }
}

Result<bpf_link_info> link_info(int fd, const std::string& path) {
    bpf_link_info info{};
    __u32 length = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) {
        return system_failure("asking the kernel about link {}", path);
    }
    return info;
}

// What was done to one hook, so that it can be undone.
struct Change {
    std::string path;
    UniqueFd link;
    UniqueFd old_program; ///< of a replaced link
    UniqueFd old_link;    ///< of a moved one
};

class Switch {
public:
    Switch(const Cgroup& cgroup, const PinLayout& layout) : cgroup_(cgroup), layout_(layout) {}

    Result<> put(const HookProgram& hook) {
        const std::string path = layout_.link(hook.name);
        UniqueFd existing(bpf_obj_get(path.c_str()));
        if (!existing.valid() && errno != ENOENT) {
            return system_failure("opening pinned link {}", path);
        }
        if (existing.valid()) {
            WEFT_ASSIGN(const bpf_link_info info, link_info(existing.get(), path));
            if (info.type == BPF_LINK_TYPE_CGROUP && info.cgroup.cgroup_id == cgroup_.id &&
                info.cgroup.attach_type == static_cast<__u32>(hook.attach_type)) {
                return replace(hook, path, std::move(existing), info.prog_id);
            }
        }
        return attach(hook, path, std::move(existing));
    }

    void undo() {
        for (Change& change : changes_) {
            if (change.old_program.valid()) {
                (void)bpf_link_update(change.link.get(), change.old_program.get(),
                                      nullptr); // best effort: the first error is reported
            } else if (change.old_link.valid()) {
                (void)pin_over(change.old_link.get(), change.path); // as above; dropping our link detaches it
            } else {
                (void)::unlink(change.path.c_str()); // as above
            }
        }
        changes_.clear();
    }

    [[nodiscard]] const SwitchStats& stats() const { return stats_; }

private:
    Result<> replace(const HookProgram& hook, const std::string& path, UniqueFd link, __u32 old_program_id) {
        UniqueFd old_program(bpf_prog_get_fd_by_id(old_program_id));
        if (!old_program.valid()) {
            return system_failure("opening the program of {}", path);
        }
        if (bpf_link_update(link.get(), hook.program_fd, nullptr) != 0) {
            return system_failure("replacing the program of {}", path);
        }
        changes_.push_back({path, std::move(link), std::move(old_program), {}});
        ++stats_.replaced;
        return {};
    }

    Result<> attach(const HookProgram& hook, const std::string& path, UniqueFd old_link) {
        UniqueFd link(bpf_link_create(hook.program_fd, cgroup_.fd.get(), static_cast<bpf_attach_type>(hook.attach_type),
                                      nullptr));
        if (!link.valid()) {
            return system_failure("attaching {} to the cgroup", hook.name);
        }
        WEFT_TRY(pin_over(link.get(), path));
        ++(old_link.valid() ? stats_.reattached : stats_.attached);
        changes_.push_back({path, std::move(link), {}, std::move(old_link)});
        return {};
    }

    const Cgroup& cgroup_;
    const PinLayout& layout_;
    std::vector<Change> changes_;
    SwitchStats stats_;
};

} // namespace

Result<Cgroup> open_cgroup(const std::string& path) {
    Cgroup cgroup;
    cgroup.fd.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!cgroup.fd.valid()) {
        if (errno == ENOENT) {
            return failure(
                ENOENT, "cgroup {} does not exist; create it, or name the cgroup v2 directory that holds the workloads",
                path);
        }
        return system_failure("opening cgroup {}", path);
    }
    struct statfs facts{};
    struct stat node{};
    if (::fstatfs(cgroup.fd.get(), &facts) != 0 || ::fstat(cgroup.fd.get(), &node) != 0) {
        return system_failure("looking at cgroup {}", path);
    }
    if (static_cast<unsigned long>(facts.f_type) != CGROUP2_SUPER_MAGIC) {
        return invalid("{} is not on a cgroup v2 file system; name a directory below the cgroup2 mount of /proc/mounts",
                       path);
    }
    cgroup.id = node.st_ino; // on 64-bit kernels a cgroup's id is its inode number
    return cgroup;
}

Result<SwitchStats> switch_hooks(std::vector<HookProgram> programs, const Cgroup& cgroup, const PinLayout& layout) {
    std::ranges::stable_sort(programs, {}, [](const HookProgram& hook) { return rank(hook.attach_type); });
    Switch change(cgroup, layout);
    for (const HookProgram& hook : programs) {
        if (auto put = change.put(hook); !put) {
            change.undo();
            return std::unexpected(put.error());
        }
    }
    return change.stats();
}

} // namespace weft::bpf
