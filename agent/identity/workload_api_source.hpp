// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A SPIFFE Workload API server (SPIRE's agent, say) as a source: it pushes identities and bundles over its unix socket
// and renews them by itself.
#pragma once

#include <memory>
#include <string>

#include "agent/identity/source.hpp"

namespace weft::identity {

/// `socket`: "unix:///run/spire/agent.sock" or an absolute path. Error: EINVAL for anything else. Connects in a thread
/// of its own, and again whenever the stream ends.
Result<std::unique_ptr<Source>> open_workload_api_source(const std::string& socket);

} // namespace weft::identity
