// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// gRPC glue: the listening socket, the acceptor that checks credentials, and the services. Answers are elsewhere.
#include "agent/admin/server.hpp"

#include <grpcpp/grpcpp.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <thread>

#include "admin.grpc.pb.h"
#include "agent/admin/answers.hpp"
#include "agent/admin/grpc_status.hpp"
#include "agent/admin/observer_service.hpp"
#include "agent/admin/peer_check.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::admin {
namespace {

// How long a request that runs may go on after stop().
constexpr auto kDrain = std::chrono::seconds(2);

class AdminService final : public Admin::Service {
public:
    AdminService(const AgentView& view, const telemetry::FlowRing& ring, const std::atomic<bool>& stopping)
        : view_(view), ring_(ring), stopping_(stopping) {}

    grpc::Status Status(grpc::ServerContext*, const StatusRequest*, StatusResponse* out) override {
        *out = answer_status(view_, ring_);
        return grpc::Status::OK;
    }
    grpc::Status ListServices(grpc::ServerContext*, const ListServicesRequest* in, ListServicesResponse* out) override {
        *out = answer_services(view_, *in);
        return grpc::Status::OK;
    }
    grpc::Status ListEndpoints(grpc::ServerContext*, const ListEndpointsRequest* in,
                               ListEndpointsResponse* out) override {
        *out = answer_endpoints(view_, *in);
        return grpc::Status::OK;
    }
    grpc::Status ListPolicies(grpc::ServerContext*, const ListPoliciesRequest* in, ListPoliciesResponse* out) override {
        *out = answer_policies(view_, *in);
        return grpc::Status::OK;
    }
    grpc::Status ListIdentities(grpc::ServerContext*, const ListIdentitiesRequest*,
                                ListIdentitiesResponse* out) override {
        *out = answer_identities(view_);
        return grpc::Status::OK;
    }
    grpc::Status ListMaps(grpc::ServerContext*, const ListMapsRequest*, ListMapsResponse* out) override {
        auto maps = answer_maps(view_);
        if (!maps) {
            return to_status(std::unexpected(maps.error()));
        }
        *out = std::move(*maps);
        return grpc::Status::OK;
    }
    grpc::Status DumpMap(grpc::ServerContext*, const DumpMapRequest* in, grpc::ServerWriter<MapEntry>* out) override {
        return to_status(answer_dump(view_, *in, [&](const MapEntry& entry) { return out->Write(entry); }));
    }
    grpc::Status ListConnections(grpc::ServerContext*, const ListConnectionsRequest* in,
                                 grpc::ServerWriter<Connection>* out) override {
        return to_status(answer_connections(view_, *in, [&](const Connection& one) { return out->Write(one); }));
    }
    grpc::Status TraceConnections(grpc::ServerContext* context, const TraceConnectionsRequest* in,
                                  grpc::ServerWriter<TraceStep>* out) override {
        return to_status(stream_trace(
            view_, *in, [&](const TraceStep& one) { return out->Write(one); },
            [&] { return !stopping_ && !context->IsCancelled(); }));
    }
    grpc::Status Check(grpc::ServerContext*, const CheckRequest*, CheckResponse* out) override {
        *out = answer_check();
        return grpc::Status::OK;
    }

private:
    const AgentView& view_;
    const telemetry::FlowRing& ring_;
    const std::atomic<bool>& stopping_;
};

Result<sockaddr_un> address_of(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.empty() || path.size() >= sizeof address.sun_path) {
        return invalid("admin socket path '{}' is {}: choose one of at most {} bytes", path,
                       path.empty() ? "empty" : "too long", sizeof address.sun_path - 1);
    }
    path.copy(address.sun_path, path.size());
    return address;
}

// Removes what a dead agent left, and nothing else.
Result<> clear_path(const std::string& path, const sockaddr_un& address) {
    struct stat found{};
    if (::lstat(path.c_str(), &found) != 0) {
        return errno == ENOENT ? Result<>{} : system_failure("cannot look at {}", path);
    }
    if (!S_ISSOCK(found.st_mode)) {
        return failure(ENOTSOCK, "{} is in the way and no socket: remove it", path);
    }
    const UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (!probe.valid()) {
        return system_failure("cannot make a unix socket");
    }
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
        return failure(EADDRINUSE, "another agent answers on {}: stop it first", path);
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return system_failure("cannot remove the stale socket {}", path);
    }
    return {};
}

Result<UniqueFd> listen_on(const std::string& path, gid_t group) {
    WEFT_ASSIGN(const auto address, address_of(path));
    WEFT_TRY(clear_path(path, address));
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!fd.valid()) {
        return system_failure("cannot make a unix socket");
    }
    if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        return system_failure("cannot bind the admin socket {}", path);
    }
    // Owner and mode are right before listen(): until then nobody can connect.
    if (::chown(path.c_str(), static_cast<uid_t>(-1), group) != 0 || ::chmod(path.c_str(), 0660) != 0) {
        return system_failure("cannot set owner and mode of {}", path);
    }
    if (::listen(fd.get(), SOMAXCONN) != 0) {
        return system_failure("cannot listen on {}", path);
    }
    return fd;
}

} // namespace

class AdminServer::Impl {
public:
    Impl(ServerOptions options, const AgentView& view, const telemetry::FlowRing& ring)
        : options_(std::move(options)), admin_(view, ring, stopping_), observer_(view, ring, options_.reach, stopping_),
          peers_(view, options_.reach, stopping_) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() { stop(); }

    Result<> start() {
        group_ = group_id(options_.group);
        WEFT_ASSIGN(listener_, listen_on(options_.socket_path, group_));
        wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        if (!wake_.valid()) {
            return system_failure("cannot make an eventfd");
        }
        grpc::ServerBuilder builder;
        // A few people at a prompt: one queue and one waiting thread are plenty, the usual one per CPU only costs
        // memory.
        builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
        builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
        builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
        builder.RegisterService(&admin_);
        builder.RegisterService(&observer_);
        builder.RegisterService(&peers_);
        server_ = builder.BuildAndStart();
        if (server_ == nullptr) {
            return failure(EIO, "gRPC did not start a server for {}", options_.socket_path);
        }
        acceptor_ = std::thread([this] { accept_loop(); });
        return {};
    }

    void stop() {
        if (stopping_.exchange(true)) {
            return;
        }
        if (acceptor_.joinable()) {
            (void)::eventfd_write(wake_.get(), 1); // cannot fail: the counter is far from full
            acceptor_.join();
        }
        if (server_ != nullptr) {
            server_->Shutdown(std::chrono::system_clock::now() + kDrain);
            server_->Wait();
        }
        if (listener_.valid()) {
            listener_.reset();
            (void)::unlink(options_.socket_path.c_str()); // the next agent removes it otherwise
        }
    }

private:
    void accept_loop() {
        pollfd ready[2] = {{listener_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
        while (!stopping_) {
            if (::poll(ready, 2, -1) < 0 && errno != EINTR) {
                return; // EINVAL or ENOMEM: nothing here can mend it
            }
            if ((ready[0].revents & POLLIN) == 0) {
                continue;
            }
            UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
            if (!fd.valid()) {
                if (errno == EMFILE || errno == ENFILE) {
                    // The connection stays queued and poll() would spin: wait a moment, unless told to stop.
                    (void)::poll(&ready[1], 1, 100);
                }
                continue;
            }
            if (check_peer(fd.get(), group_)) {
                grpc::AddInsecureChannelFromFd(server_.get(), fd.release());
            } // else: closed unread, the file's mode has already told honest users
        }
    }

    ServerOptions options_;
    gid_t group_ = static_cast<gid_t>(-1);
    std::atomic<bool> stopping_ = false;
    AdminService admin_;
    ObserverService observer_;
    PeerService peers_;
    UniqueFd listener_, wake_;
    std::unique_ptr<grpc::Server> server_;
    std::thread acceptor_;
};

AdminServer::AdminServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
AdminServer::AdminServer(AdminServer&&) noexcept = default;
AdminServer& AdminServer::operator=(AdminServer&&) noexcept = default;
AdminServer::~AdminServer() = default;

Result<AdminServer> AdminServer::start(ServerOptions options, const AgentView& view, const telemetry::FlowRing& ring) {
    auto impl = std::make_unique<Impl>(std::move(options), view, ring);
    WEFT_TRY(impl->start());
    return AdminServer(std::move(impl));
}

void AdminServer::stop() {
    if (impl_ != nullptr) {
        impl_->stop();
    }
}

} // namespace weft::admin
