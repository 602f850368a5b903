// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What the agent before this one has left with weft-relay: listeners in pods, in whose queues connections wait, and
// connections of applications that it had accepted but not begun to carry. Thread: control, before any worker.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "agent/mesh/pod_sockets.hpp"

namespace weft::mesh {

/// An application's connection that waits for its other half.
struct Waiting {
    std::uint64_t id = 0; ///< at weft-relay
    UniqueFd app;
};

struct Recovered {
    /// By netns cookie; complete sets only, without the namespace itself.
    std::map<std::uint64_t, PodSockets> pods;
    std::map<std::uint64_t, std::vector<Waiting>> waiting;
    /// Listeners that are no use, to be dropped at weft-relay.
    std::vector<std::uint64_t> useless;
};

/// Asks weft-relay. Error: there is none, or it does not answer in time; then nothing is recovered.
Result<Recovered> recover(const std::string& relay_socket);

} // namespace weft::mesh
