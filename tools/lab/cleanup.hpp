// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Removing a lab by its name alone: after `down`, after a crash, before `up`. Needs nobody who remembers anything.
#pragma once

#include <string>
#include <vector>

#include "tools/lab/names.hpp"

namespace weft::lab {

/// Mounts bpffs when it is not; the last lab to go unmounts it again.
Result<> ensure_bpffs();

/// True when anything of this lab is on the machine: a process, a namespace, a cgroup, a pin or a file.
bool exists(const Names& names);

/// Kills and removes everything of this lab. Fine when there is nothing. Error: what could not be removed.
Result<> destroy(const Names& names);

/// Names of all labs of which anything is on the machine.
std::vector<std::string> list_labs();

} // namespace weft::lab
