// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does this kernel offer, what does Weft lack here, and what does that cost? Asks the kernel itself, never its
// version number: distributions backport. Needs no agent; without root some answers are "unknown".
#pragma once

#include <string>
#include <vector>

namespace weft::admin {

struct KernelFeature {
    enum class State { kPresent, kMissingOptional, kMissingRequired, kUnknown };
    std::string name;
    State state = State::kUnknown;
    std::string detail; ///< what was found
    std::string cost;   ///< what the lack costs and how to get it; empty when present
};

/// Asks for everything, required features first. Leaves nothing behind: no map, no program, no socket, no mount.
std::vector<KernelFeature> probe_kernel();

/// "6.18.5".
std::string kernel_release();

} // namespace weft::admin
