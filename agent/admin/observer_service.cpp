// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/admin/observer_service.hpp"

#include "agent/admin/grpc_status.hpp"
#include "agent/admin/observer.hpp"

namespace weft::admin {

grpc::Status ObserverService::GetFlows(grpc::ServerContext* context, const observer::GetFlowsRequest* in,
                                       grpc::ServerWriter<observer::GetFlowsResponse>* out) {
    return to_status(stream_flows(
        ring_, *in, view_.health().node_name, [&](const observer::GetFlowsResponse& one) { return out->Write(one); },
        [&] { return !stopping_ && !context->IsCancelled(); }));
}

grpc::Status ObserverService::GetNodes(grpc::ServerContext* /*context*/, const observer::GetNodesRequest* /*in*/,
                                       observer::GetNodesResponse* out) {
    const auto status = this->status();
    const auto name = view_.health().node_name;
    auto& node = *out->add_nodes();
    node.set_name(name);
    node.set_version(status.version());
    node.set_state(relay::NODE_CONNECTED);
    node.set_uptime_ns(status.uptime_ns());
    node.set_num_flows(status.num_flows());
    node.set_max_flows(status.max_flows());
    node.set_seen_flows(status.seen_flows());
    if (reach_.port != 0) {
        const auto all = peers_of(*view_.snapshot(), name, reach_);
        node.set_address(all.at(name).address());
        node.mutable_tls()->set_enabled(reach_.tls);
        node.mutable_tls()->set_server_name(all.at(name).tls().server_name());
    }
    return grpc::Status::OK;
}

grpc::Status ObserverService::GetNamespaces(grpc::ServerContext* /*context*/,
                                            const observer::GetNamespacesRequest* /*in*/,
                                            observer::GetNamespacesResponse* out) {
    *out = namespaces_of(ring_);
    return grpc::Status::OK;
}

grpc::Status ObserverService::ServerStatus(grpc::ServerContext* /*context*/,
                                           const observer::ServerStatusRequest* /*in*/,
                                           observer::ServerStatusResponse* out) {
    *out = status();
    return grpc::Status::OK;
}

observer::ServerStatusResponse ObserverService::status() const {
    const auto stats = ring_.stats();
    const auto age = std::chrono::steady_clock::now() - view_.health().started;
    observer::ServerStatusResponse out;
    out.set_num_flows(stats.kept);
    out.set_max_flows(stats.capacity);
    out.set_seen_flows(stats.seen);
    out.set_uptime_ns(static_cast<std::uint64_t>(std::chrono::nanoseconds(age).count()));
    out.mutable_num_connected_nodes()->set_value(1);
    out.mutable_num_unavailable_nodes()->set_value(0);
    out.set_version("weft " WEFT_VERSION);
    out.set_flows_rate(flows_a_second(ring_, age));
    out.mutable_lost()->set_kernel_ring(stats.kernel_lost);
    out.mutable_lost()->set_slow_clients(stats.missed);
    return out;
}

grpc::Status PeerService::Notify(grpc::ServerContext* context, const peer::NotifyRequest* /*in*/,
                                 grpc::ServerWriter<peer::ChangeNotification>* out) {
    stream_peers(
        view_, reach_, [&](const peer::ChangeNotification& one) { return out->Write(one); },
        [&] { return !stopping_ && !context->IsCancelled(); });
    return grpc::Status::OK;
}

} // namespace weft::admin
