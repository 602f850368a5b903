// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Do the hooks act? Attaching without an error proves nothing (a wrong cgroup attaches well too), so a process inside
// the cgroup makes a call that only our hook answers in one way: it connects a datagram socket to a Service without
// backends. No packet leaves the machine.
// Thread: control, before any other thread runs (it forks).
#pragma once

#include <memory>
#include <string>

#include "agent/compiler/desired_state.hpp"

namespace weft::app {

/// The Service that the probe dials; part of every desired state.
std::shared_ptr<const compiler::ServiceFragment> probe_service();

/// Runs the probe in a child cgroup of `cgroup_path`. Error: EPROTO when a hook does not act, else errno of the step.
Result<> probe_hooks(const std::string& cgroup_path);

} // namespace weft::app
