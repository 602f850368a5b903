// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The gRPC client. The socket is connected here, not by gRPC, because connect(2) says precisely what is wrong.
#include "tools/weft/client.hpp"

#include <fcntl.h>
#include <grpcpp/create_channel_posix.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "admin.grpc.pb.h"
#include "observer/observer.grpc.pb.h"
#include "weft/base/unique_fd.hpp"

namespace weft::cli {
namespace {

// The agent answers from memory; the longest is the socket iterator over a million sockets.
constexpr auto kPatience = std::chrono::seconds(30);

// How long to wait for the agent's first byte, in milliseconds; a slower one is asked all the same.
constexpr int kGreeting = 3000;

Result<> from_status(const grpc::Status& status) {
    switch (status.error_code()) {
    case grpc::StatusCode::OK:
    case grpc::StatusCode::CANCELLED:
        return {};
    case grpc::StatusCode::NOT_FOUND:
        return failure(ENOENT, "{}", status.error_message());
    case grpc::StatusCode::INVALID_ARGUMENT:
        return failure(EINVAL, "{}", status.error_message());
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
        return failure(EBUSY, "{}", status.error_message());
    case grpc::StatusCode::UNAVAILABLE:
        return failure(
            ECONNREFUSED,
            "the agent closed the connection: it stopped, or this user may not ask it (be root or in group weft)");
    case grpc::StatusCode::UNIMPLEMENTED:
        return failure(EIO,
                       "the agent does not know this request: it is older than this command; compare `weft version`");
    case grpc::StatusCode::DEADLINE_EXCEEDED:
        return failure(EIO, "the agent did not answer within {} s; see its log: journalctl -u weftd",
                       kPatience.count());
    default:
        return failure(EIO, "the agent answers: {}", status.error_message());
    }
}

} // namespace

Result<int> connect_socket(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return invalid("--socket '{}' is {}: at most {} bytes fit", path, path.empty() ? "empty" : "too long",
                       sizeof address.sun_path - 1);
    }
    path.copy(address.sun_path, path.size());
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!fd.valid()) {
        return system_failure("cannot make a unix socket");
    }
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        switch (errno) {
        case ENOENT:
            return failure(ENXIO,
                           "no agent on this node: {} does not exist. Is weftd running here (systemctl status weftd)? "
                           "In the lab, or "
                           "with another run directory, give --socket",
                           path);
        case ECONNREFUSED:
            return failure(ECONNREFUSED,
                           "the agent is not running: nobody listens on {}. Start it: systemctl start weftd", path);
        case EACCES:
        case EPERM:
            return failure(EACCES, "may not open {}: run as root, or join group weft", path);
        case ENOTSOCK:
            return invalid("{} is not a socket", path);
        default:
            return system_failure("cannot connect to {}", path);
        }
    }
    if (::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) {
        return system_failure("cannot make the connection to {} non-blocking", path);
    }
    return fd.release();
}

struct Client::Impl {
    explicit Impl(int fd)
        : channel(grpc::CreateInsecureChannelFromFd("weft", fd)), admin(admin::Admin::NewStub(channel)),
          observer(observer::Observer::NewStub(channel)) {}

    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<admin::Admin::Stub> admin;
    std::unique_ptr<observer::Observer::Stub> observer;
};

namespace {

template <typename Response, typename Stub, typename Method, typename Request>
Result<Response> ask(Stub& stub, Method method, const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kPatience);
    Response response;
    WEFT_TRY(from_status((stub.*method)(&context, request, &response)));
    return response;
}

template <typename Response, typename Reader>
Result<> take_all(Reader reader, const std::function<void(const Response&)>& take) {
    Response one;
    while (reader->Read(&one)) {
        take(one);
    }
    return from_status(reader->Finish());
}

} // namespace

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

Result<Client> Client::connect(const std::string& socket) {
    WEFT_ASSIGN(const int connected, connect_socket(socket));
    UniqueFd fd(connected);
    // An agent that accepts us speaks first (its HTTP/2 settings); one that does not hangs up without a word.
    pollfd answer{fd.get(), POLLIN, 0};
    char first = 0;
    const bool spoke = ::poll(&answer, 1, kGreeting) != 1 || ::recv(fd.get(), &first, 1, MSG_PEEK) > 0;
    if (!spoke) {
        return failure(EACCES,
                       "the agent refused this user: be root, or in the agent's socket_group (see `weftd --help`)");
    }
    return Client(std::make_unique<Impl>(fd.release()));
}

Result<admin::StatusResponse> Client::status() {
    return ask<admin::StatusResponse>(*impl_->admin, &admin::Admin::Stub::Status, admin::StatusRequest());
}
Result<admin::ListServicesResponse> Client::services(const admin::ListServicesRequest& request) {
    return ask<admin::ListServicesResponse>(*impl_->admin, &admin::Admin::Stub::ListServices, request);
}
Result<admin::ListEndpointsResponse> Client::endpoints(const admin::ListEndpointsRequest& request) {
    return ask<admin::ListEndpointsResponse>(*impl_->admin, &admin::Admin::Stub::ListEndpoints, request);
}
Result<admin::ListPoliciesResponse> Client::policies(const admin::ListPoliciesRequest& request) {
    return ask<admin::ListPoliciesResponse>(*impl_->admin, &admin::Admin::Stub::ListPolicies, request);
}
Result<admin::ListIdentitiesResponse> Client::identities() {
    return ask<admin::ListIdentitiesResponse>(*impl_->admin, &admin::Admin::Stub::ListIdentities,
                                              admin::ListIdentitiesRequest());
}
Result<admin::ListMapsResponse> Client::maps() {
    return ask<admin::ListMapsResponse>(*impl_->admin, &admin::Admin::Stub::ListMaps, admin::ListMapsRequest());
}
Result<> Client::dump_map(const std::string& name, const std::function<void(const admin::MapEntry&)>& take) {
    grpc::ClientContext context;
    admin::DumpMapRequest request;
    request.set_name(name);
    return take_all<admin::MapEntry>(impl_->admin->DumpMap(&context, request), take);
}
Result<> Client::connections(const admin::ListConnectionsRequest& request,
                             const std::function<void(const admin::Connection&)>& take, const std::stop_token& stop) {
    grpc::ClientContext context;
    const std::stop_callback cancel(stop, [&] { context.TryCancel(); });
    return take_all<admin::Connection>(impl_->admin->ListConnections(&context, request), take);
}
Result<> Client::trace(const admin::TraceConnectionsRequest& request,
                       const std::function<void(const admin::TraceStep&)>& take) {
    grpc::ClientContext context;
    return take_all<admin::TraceStep>(impl_->admin->TraceConnections(&context, request), take);
}
Result<> Client::flows(const observer::GetFlowsRequest& request,
                       const std::function<void(const observer::GetFlowsResponse&)>& take,
                       const std::stop_token& stop) {
    grpc::ClientContext context;
    const std::stop_callback cancel(stop, [&] { context.TryCancel(); });
    return take_all<observer::GetFlowsResponse>(impl_->observer->GetFlows(&context, request), take);
}

} // namespace weft::cli
