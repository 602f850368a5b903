// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does this kernel keep TCP's rules for sockets that are joined? Tries it on connections of its own, once, at start.
#pragma once

#include <string_view>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::bpf {

/// One rule of TCP's that an application may rely on.
struct AccelRule {
    std::string_view name; ///< "splice"
    std::string_view what; ///< what does not work where it is broken
    bool kept = false;
};

/// Tries every rule that no hook can keep, on pairs of sockets over loopback in the calling thread's network namespace;
/// takes about a second. What an application asks for by a socket option is not tried: weft_setsockopt keeps that.
/// With `joined` false it tries plain TCP, which keeps them all: so a test knows that the trials are right.
/// Errors: the kernel cannot load the program, or sockets cannot be made or joined.
Result<std::vector<AccelRule>> probe_acceleration(bool joined = true);

} // namespace weft::bpf
