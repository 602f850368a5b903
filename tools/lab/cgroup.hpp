// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Control groups of a lab, in the cgroup v2 hierarchy, unified or hybrid: make, join, kill, remove.
#pragma once

#include <sys/types.h>

#include <string>

#include "weft/base/result.hpp"

namespace weft::lab {

/// Where cgroup v2 is mounted, from /proc/mounts. Error: ENOENT with the command that mounts it.
Result<std::string> cgroup_mount();

/// Absolute path of a cgroup given below the mount ("weft-lab/node-a").
Result<std::string> cgroup_path(const std::string& below_mount);

/// Makes the cgroup and its parents; fine when it exists.
Result<> create_cgroup(const std::string& path);

/// Puts a process into the cgroup at absolute `path`; 0 is the calling one.
Result<> join_cgroup(const std::string& path, pid_t pid);

/// Number of processes in the cgroup itself and below.
std::size_t cgroup_population(const std::string& path);

/// SIGKILL to every process in the cgroup and below. Fine when it does not exist.
Result<> kill_cgroup(const std::string& path);

/// Kills what is inside, waits until it is gone (5 s), and removes the whole subtree. Fine when it does not exist.
Result<> remove_cgroup(const std::string& path);

} // namespace weft::lab
