// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does the plugin ask the agent? One request and one answer over its unix socket, within a time limit that covers
// everything.
#pragma once

#include <chrono>
#include <string>

#include "cni-plugin/netconf.hpp"
#include "enrol.pb.h"
#include "weft/base/result.hpp"

namespace weft::cni {

/// One exchange with the agent. Errors: ENOENT and ECONNREFUSED when no agent listens, EACCES, ETIMEDOUT,
/// EPROTO for an answer that is none, or errno of the failed call.
Result<enrol::Response> ask_agent(const std::string& socket_path, const enrol::Request& request,
                                  std::chrono::milliseconds timeout);

/// The same, with every failure (also the agent's own) as what the runtime is told.
CniResult<> call_agent(const NetConf& conf, enrol::Request request);

} // namespace weft::cni
