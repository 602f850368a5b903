// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Two gRPC servers over one Issuer. The server's own key is a file of the authority's folder, as gRPC reloads files.
#include "agent/ca/server.hpp"

#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "agent/ca/node_service.hpp"
#include "agent/ca/pki/durable_file.hpp"
#include "agent/ca/rpc/status_codes.hpp"
#include "agent/ca/rpc/tls13.hpp"
#include "ca.grpc.pb.h"

namespace weft::ca {
namespace {

constexpr unsigned kReloadSeconds = 1;
constexpr int kLargestRequest = 16 * 1024;
constexpr int kStreamsPerConnection = 64;
constexpr auto kDrain = std::chrono::seconds(2);
constexpr const char* kServerFile = "server.pem";

template <typename T>
grpc::Status finish(Result<T> result, T* out) {
    if (!result) {
        return to_status(result.error());
    }
    *out = std::move(*result);
    return grpc::Status::OK;
}

/// What administrators ask for; the socket's mode says who they are.
class AdminService final : public Administration::Service {
public:
    explicit AdminService(Server& server, Issuer& issuer) : server_(server), issuer_(issuer) {}

    grpc::Status Show(grpc::ServerContext*, const ShowRequest*, ShowResponse* out) override {
        return finish(issuer_.show(), out);
    }
    grpc::Status Rotate(grpc::ServerContext*, const RotateRequest* in, ShowResponse* out) override {
        auto answer = issuer_.rotate(*in);
        if (answer) {
            if (auto renewed = server_.tick(); !renewed) {
                return to_status(renewed.error());
            }
        }
        return finish(std::move(answer), out);
    }
    grpc::Status Revoke(grpc::ServerContext*, const RevokeRequest* in, RevokeResponse* out) override {
        return finish(issuer_.revoke(*in), out);
    }
    grpc::Status CreateToken(grpc::ServerContext*, const CreateTokenRequest* in, CreateTokenResponse* out) override {
        return finish(issuer_.create_token(*in), out);
    }
    grpc::Status Issue(grpc::ServerContext*, const IssueRequest* in, IssueResponse* out) override {
        return finish(issuer_.issue(*in), out);
    }

private:
    Server& server_;
    Issuer& issuer_;
};

} // namespace

std::string admin_socket(const std::string& folder) {
    return folder + "/admin.sock";
}

class Server::Impl {
public:
    Impl(Server& self, std::string folder, std::unique_ptr<Issuer> issuer)
        : folder_(std::move(folder)), issuer_(std::move(issuer)), nodes_(*issuer_), admin_(self, *issuer_) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() {
        if (node_server_) {
            nodes_.stop();
            node_server_->Shutdown(std::chrono::system_clock::now() + kDrain);
            node_server_->Wait();
        }
        if (admin_server_) {
            admin_server_->Shutdown(std::chrono::system_clock::now() + kDrain);
            admin_server_->Wait();
            (void)::unlink(admin_socket(folder_).c_str()); // the next one removes it otherwise
        }
    }

    Result<> start(const std::string& listen) {
        WEFT_TRY(renew_server());
        WEFT_TRY(start_nodes(listen));
        return start_admin();
    }

    Result<> tick() {
        WEFT_ASSIGN(const bool renew, issuer_->tick());
        return renew ? renew_server() : Result<>{};
    }

    [[nodiscard]] int port() const { return port_; }
    [[nodiscard]] Issuer& issuer() { return *issuer_; }

private:
    Result<> renew_server() {
        WEFT_ASSIGN(const auto pem, issuer_->server_identity());
        return pki::write_durable(folder_ + "/" + kServerFile, pem);
    }

    Result<> start_nodes(const std::string& listen) {
        WEFT_TRY(check_tls13());
        namespace tls = grpc::experimental;
        // Key and chain in one file: a reader never sees a pair that does not fit.
        const auto file = folder_ + "/" + kServerFile;
        tls::TlsServerCredentialsOptions options(
            std::make_shared<tls::FileWatcherCertificateProvider>(file, file, kReloadSeconds));
        options.watch_identity_key_cert_pairs();
        // Asked for, as all but Join need one; judged by the Issuer at each call, against the roots of that moment.
        options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);
        options.set_check_call_host(false);
        grpc::ServerBuilder builder;
        builder.AddListeningPort(listen, tls::TlsServerCredentials(options), &port_);
        builder.RegisterService(&nodes_.service());
        builder.SetMaxReceiveMessageSize(kLargestRequest);
        builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
        builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0); // a second weft-ca on this port is a mistake
        // Clients ask every 10 s whether the connection lives; fewer pings than that are refused as abuse.
        builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
        builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
        builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
        builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
        builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5000);
        grpc::ResourceQuota quota("weft-ca");
        quota.Resize(std::size_t{256} << 20);
        builder.SetResourceQuota(quota);
        node_server_ = builder.BuildAndStart();
        if (!node_server_ || port_ == 0) {
            return failure(EADDRINUSE, "cannot listen on {}: the port is taken, or the address is none of this machine",
                           listen);
        }
        return {};
    }

    Result<> start_admin() {
        const auto path = admin_socket(folder_);
        if (path.size() >= sizeof(sockaddr_un::sun_path)) {
            return invalid("{}: too long for a socket; choose a shorter folder", path);
        }
        // We hold the folder's lock, so whoever made it is dead.
        if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
            return system_failure("remove the stale socket {}", path);
        }
        grpc::ServerBuilder builder;
        builder.AddListeningPort("unix:" + path, grpc::InsecureServerCredentials());
        builder.RegisterService(&admin_);
        builder.SetMaxReceiveMessageSize(kLargestRequest);
        admin_server_ = builder.BuildAndStart();
        if (!admin_server_) {
            return failure(EIO, "cannot listen on {}", path);
        }
        // The folder lets nobody else in; this is for an owner who opens it.
        if (::chmod(path.c_str(), 0600) != 0) {
            return system_failure("set the mode of {}", path);
        }
        return {};
    }

    std::string folder_;
    std::unique_ptr<Issuer> issuer_;
    NodeService nodes_;
    AdminService admin_;
    int port_ = 0;
    std::unique_ptr<grpc::Server> node_server_;
    std::unique_ptr<grpc::Server> admin_server_;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::start(const ServerOptions& options) {
    WEFT_ASSIGN(auto folder, StateFolder::open(options.folder));
    std::unique_ptr<PodDirectory> pods;
    if (!options.manifests.empty()) {
        WEFT_ASSIGN(pods, open_manifest_pods(options.manifests));
    }
    WEFT_ASSIGN(auto issuer, Issuer::open(std::move(folder), std::move(pods), options.issuer));
    std::unique_ptr<Server> server(new Server(nullptr));
    server->impl_ = std::make_unique<Impl>(*server, options.folder, std::move(issuer));
    WEFT_TRY(server->impl_->start(options.listen));
    return server;
}

int Server::port() const {
    return impl_->port();
}

Issuer& Server::issuer() {
    return impl_->issuer();
}

Result<> Server::tick() {
    return impl_->tick();
}

} // namespace weft::ca
