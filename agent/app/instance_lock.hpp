// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Is another agent at work on the same folder? Two agents on one set of pins would undo each other's writes, so the
// second one must stop before it touches anything. The lock is the kernel's: it ends with the process, however that
// ends.
#pragma once

#include <string>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::app {

/// Locks `folder`, which must exist, as long as the descriptor lives. `key`: the option that names it, for the message.
/// Error: EBUSY with the remedy when somebody has it, else errno of open or flock.
Result<UniqueFd> lock_folder(const std::string& key, const std::string& folder);

} // namespace weft::app
