// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A connection from an enrolled workload of another node: prove both identities, only then connect to the application,
// and join the two. What does not begin with a Weft handshake goes to a permissive workload's application as it came.
// Thread: the worker that accepted it.
#pragma once

#include "agent/mesh/pod_sockets.hpp"
#include "agent/mesh/surroundings.hpp"

namespace weft::mesh {

/// Takes over a connection that the pod's carrier listener accepted. It looks after itself from here on; whatever fails
/// resets the peer's connection.
void start_inbound(Surroundings& around, std::shared_ptr<const Workload> workload,
                   std::shared_ptr<const PodSockets> pod, UniqueFd wire);

} // namespace weft::mesh
