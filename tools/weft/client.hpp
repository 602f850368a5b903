// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does a command ask the agent? One connection over the admin socket; an agent that is not there, a user who may
// not ask, and an agent that does not answer are told apart and each says what to do. The only file that knows gRPC.
#pragma once

#include <functional>
#include <memory>
#include <stop_token>
#include <string>

#include "admin.pb.h"
#include "observer/observer.pb.h"
#include "weft/base/result.hpp"

namespace weft::cli {

/// Errors of every call: ECONNREFUSED no agent answers, EACCES may not ask, ENOENT no such object, EINVAL the agent
/// does not understand the request, EIO anything else.
class Client {
public:
    /// Connects at once.
    static Result<Client> connect(const std::string& socket);
    Client(Client&&) noexcept;
    Client& operator=(Client&&) noexcept;
    ~Client();

    Result<admin::StatusResponse> status();
    Result<admin::ListServicesResponse> services(const admin::ListServicesRequest& request);
    Result<admin::ListEndpointsResponse> endpoints(const admin::ListEndpointsRequest& request);
    Result<admin::ListPoliciesResponse> policies(const admin::ListPoliciesRequest& request);
    Result<admin::ListIdentitiesResponse> identities();
    Result<admin::ListMapsResponse> maps();
    /// Calls `take` for each entry.
    Result<> dump_map(const std::string& name, const std::function<void(const admin::MapEntry&)>& take);
    /// Until all are told or `stop` is asked for.
    Result<> connections(const admin::ListConnectionsRequest& request,
                         const std::function<void(const admin::Connection&)>& take, const std::stop_token& stop = {});
    /// Until as many connections as wished have ended, or the time is over. EBUSY: too many traces run.
    Result<> trace(const admin::TraceConnectionsRequest& request,
                   const std::function<void(const admin::TraceStep&)>& take);
    /// Until the agent is done or, with `follow`, gone, or `stop` is asked for.
    Result<> flows(const observer::GetFlowsRequest& request,
                   const std::function<void(const observer::GetFlowsResponse&)>& take,
                   const std::stop_token& stop = {});

private:
    struct Impl;
    explicit Client(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

/// A connected, non-blocking descriptor of the agent's socket; says why there is none.
Result<int> connect_socket(const std::string& path);

} // namespace weft::cli
