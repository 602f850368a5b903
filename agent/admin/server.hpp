// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who answers `weft` and Hubble's clients on this node: services weft.admin.Admin, observer.Observer and peer.Peer on
// one unix socket. The agent accepts connections itself, so that the peer's credentials are checked before gRPC reads a
// byte.
#pragma once

#include <memory>
#include <string>

#include "agent/admin/peers.hpp"
#include "agent/admin/view.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "weft/base/result.hpp"

namespace weft::admin {

/// Where to listen and who may connect.
struct ServerOptions {
    std::string socket_path; ///< RUN_DIR/admin.sock; a stale socket there is replaced, any other file is an error
    std::string group =
        "weft"; ///< besides root, members of this group may connect; a group that does not exist is none
    Reach reach = {}; ///< what clients are told about where flows can be read
};

/// Thread: start and stop on the thread that owns it; requests run on gRPC's threads.
class AdminServer {
public:
    /// Serves until stop(). `view` and `ring` must outlive the server. Errors: EADDRINUSE when another agent serves
    /// there, ENOTSOCK when the path is some other file, or the system's own.
    static Result<AdminServer> start(ServerOptions options, const AgentView& view, const telemetry::FlowRing& ring);

    AdminServer(AdminServer&&) noexcept;
    AdminServer& operator=(AdminServer&&) noexcept;
    /// stop()
    ~AdminServer();

    /// Ends open streams, waits for requests that run, and removes the socket. Idempotent.
    void stop();

private:
    class Impl;
    explicit AdminServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::admin
