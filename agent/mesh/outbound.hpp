// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A pod's application dials an enrolled workload on another node: connect to it from the pod, prove both identities,
// and join the two connections. Thread: the worker that accepted it.
#pragma once

#include "agent/mesh/pod_sockets.hpp"
#include "agent/mesh/surroundings.hpp"

namespace weft::mesh {

/// Takes over a connection that the pod's dial listener accepted. It looks after itself from here on; whatever fails
/// resets the application's connection. Until it is carried weft-relay holds it, too: not a byte of it is read before,
/// so that the next agent can begin anew should this one be killed.
void start_outbound(Surroundings& around, std::shared_ptr<const Workload> workload,
                    std::shared_ptr<const PodSockets> pod, UniqueFd app);
/// The same for one that weft-relay holds under `id` already: an agent before this one has accepted it.
void resume_outbound(Surroundings& around, std::shared_ptr<const Workload> workload,
                     std::shared_ptr<const PodSockets> pod, UniqueFd app, std::uint64_t id);

} // namespace weft::mesh
