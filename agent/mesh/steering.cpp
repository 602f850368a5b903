// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/mesh/steering.hpp"

#include <bpf/bpf.h>

#include "weft/base/unique_fd.hpp"

namespace weft::mesh {

Result<> Steering::attach(std::uint64_t netns_cookie, int netns, int program) const {
    const std::string path = layout_.pod(netns_cookie);
    if (const UniqueFd link(bpf_obj_get(path.c_str())); link.valid()) {
        if (bpf_link_update(link.get(), program, nullptr) == 0) {
            return {};
        }
        // ENOLINK: its namespace is gone, and the cookie is another machine start's.
        WEFT_TRY(bpf::detach_pinned(path));
    }
    const UniqueFd link(bpf_link_create(program, netns, BPF_SK_LOOKUP, nullptr));
    if (!link.valid()) {
        return system_failure("attaching the steering program to a pod's network namespace");
    }
    return bpf::pin_over(link.get(), path);
}

Result<> Steering::detach(std::uint64_t netns_cookie) const {
    return bpf::detach_pinned(layout_.pod(netns_cookie));
}

Result<> Steering::keep_only(const std::set<std::uint64_t>& wanted) const {
    for (const std::string& name : bpf::names_in(layout_.pods_dir())) {
        bool keep = false;
        for (const std::uint64_t cookie : wanted) {
            keep = keep || layout_.pod(cookie) == layout_.pods_dir() + "/" + name;
        }
        if (!keep) {
            WEFT_TRY(bpf::detach_pinned(layout_.pods_dir() + "/" + name));
        }
    }
    return {};
}

} // namespace weft::mesh
