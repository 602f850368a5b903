// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What can the running kernel do? Decided by moving bytes over a loopback connection, not by a version number.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "weft/ktls/traffic.hpp"

namespace weft::ktls {

/// Who moves the bytes of a connection after its handshake.
enum class Tier : std::uint8_t {
    kRelay,     ///< the kernel encrypts, weft-relay splices
    kUserspace, ///< OpenSSL in the agent
};

/// "relay", "userspace"
std::string_view tier_name(Tier tier);

struct Probe {
    Tier tier = Tier::kUserspace;
    /// One sentence for `weft status`: why this tier.
    std::string reason;
    /// Ciphers that kTLS takes here; connections with others go to user space.
    std::vector<Cipher> ciphers;
    /// Keys can be changed on a living kTLS socket.
    bool rekey = false;
    /// A receiving splice keeps every byte when the pipe is nearly full.
    bool full_pipe_safe = false;
};

/// Takes some milliseconds. Never fails: what cannot be probed is not there.
Probe probe_kernel();

} // namespace weft::ktls
