// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Flows for other machines: observer.Observer and peer.Peer, and nothing else, on a TCP port. By mutual TLS: a client
// without a certificate of the configured authority gets no answer. Certificates are read again when their files
// change.
#pragma once

#include <memory>
#include <string>

#include "agent/admin/peers.hpp"
#include "agent/admin/view.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "weft/base/result.hpp"

namespace weft::admin {

/// Where to listen and whom to answer.
struct FlowListener {
    Reach reach; ///< host and port are listened on; `tls` asks for the three files
    std::string certificate, key, authority; ///< PEM files: the server's chain, its key, roots of its clients
};

/// Thread: start and stop on the thread that owns it; requests run on gRPC's threads.
class FlowServer {
public:
    /// Serves until stop(). `view` and `ring` must outlive it. Errors: EINVAL naming the file that cannot be used, or a
    /// pair that does not fit; EADDRINUSE when the port is taken or the address is none of this machine.
    static Result<FlowServer> start(FlowListener listener, const AgentView& view, const telemetry::FlowRing& ring);

    FlowServer(FlowServer&&) noexcept;
    FlowServer& operator=(FlowServer&&) noexcept;
    /// stop()
    ~FlowServer();

    /// Ends open streams. Idempotent.
    void stop();

private:
    class Impl;
    explicit FlowServer(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::admin
