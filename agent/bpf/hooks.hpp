// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How are programs put on their cgroup hooks, all or none? Pinned links are kept and given the new program; missing
// ones are made; those on another cgroup are moved. A failure gives every link its old program back.
#pragma once

#include <string>
#include <vector>

#include "agent/bpf/pins.hpp"
#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {

/// One program for one cgroup hook.
struct HookProgram {
    std::string name; ///< of the program, and of its pinned link
    int program_fd = -1;
    int attach_type = 0; ///< enum bpf_attach_type
};

/// A cgroup v2 directory to attach to.
struct Cgroup {
    UniqueFd fd;
    std::uint64_t id = 0;
};

/// Opens a cgroup. Errors: ENOENT, ENOTDIR, EINVAL (not cgroup v2), each with the path and the remedy.
Result<Cgroup> open_cgroup(const std::string& path);

struct SwitchStats {
    std::size_t attached = 0;
    std::size_t replaced = 0;
    std::size_t reattached = 0;
};

/// Puts each program on its hook, in an order that never translates what could not be translated back.
Result<SwitchStats> switch_hooks(std::vector<HookProgram> programs, const Cgroup& cgroup, const PinLayout& layout);

} // namespace weft::bpf
