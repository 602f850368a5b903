// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The gRPC service for nodes: tells callers apart by their certificate, asks the Issuer, and streams the bundle to
// whoever watches it. Thread: gRPC's; a watcher costs no thread.
#pragma once

#include <memory>

#include <grpcpp/grpcpp.h>

#include "agent/ca/issuer.hpp"

namespace weft::ca {

class NodeService {
public:
    /// Borrows the issuer and becomes its listener.
    explicit NodeService(Issuer& issuer);
    NodeService(const NodeService&) = delete;
    NodeService& operator=(const NodeService&) = delete;
    ~NodeService();

    [[nodiscard]] grpc::Service& service();
    /// Ends every stream. Call before the server's shutdown; no new stream is begun afterwards.
    void stop();

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::ca
