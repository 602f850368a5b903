// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Hubble's two services as gRPC wants them. Who may connect is decided where they are served: the unix socket of
// server.hpp, the TCP listener of flow_server.hpp.
#pragma once

#include <atomic>

#include "agent/admin/peers.hpp"
#include "agent/admin/view.hpp"
#include "agent/telemetry/flow_ring.hpp"
#include "observer/observer.grpc.pb.h"
#include "peer/peer.grpc.pb.h"

namespace weft::admin {

/// Thread: gRPC's. What it is given must outlive it; once `stopping` is true, streams end.
class ObserverService final : public observer::Observer::Service {
public:
    ObserverService(const AgentView& view, const telemetry::FlowRing& ring, const Reach& reach,
                    const std::atomic<bool>& stopping)
        : view_(view), ring_(ring), reach_(reach), stopping_(stopping) {}

    grpc::Status GetFlows(grpc::ServerContext* context, const observer::GetFlowsRequest* in,
                          grpc::ServerWriter<observer::GetFlowsResponse>* out) override;
    grpc::Status GetNodes(grpc::ServerContext* context, const observer::GetNodesRequest* in,
                          observer::GetNodesResponse* out) override;
    grpc::Status GetNamespaces(grpc::ServerContext* context, const observer::GetNamespacesRequest* in,
                               observer::GetNamespacesResponse* out) override;
    grpc::Status ServerStatus(grpc::ServerContext* context, const observer::ServerStatusRequest* in,
                              observer::ServerStatusResponse* out) override;

private:
    [[nodiscard]] observer::ServerStatusResponse status() const;

    const AgentView& view_;
    const telemetry::FlowRing& ring_;
    const Reach& reach_;
    const std::atomic<bool>& stopping_;
};

/// The same rules.
class PeerService final : public peer::Peer::Service {
public:
    PeerService(const AgentView& view, const Reach& reach, const std::atomic<bool>& stopping)
        : view_(view), reach_(reach), stopping_(stopping) {}

    grpc::Status Notify(grpc::ServerContext* context, const peer::NotifyRequest* in,
                        grpc::ServerWriter<peer::ChangeNotification>* out) override;

private:
    const AgentView& view_;
    const Reach& reach_;
    const std::atomic<bool>& stopping_;
};

} // namespace weft::admin
