// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/admin/flow_server.hpp"

#include <atomic>

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "agent/admin/observer_service.hpp"
#include "agent/ca/rpc/tls13.hpp"

namespace weft::admin {
namespace {

constexpr auto kDrain = std::chrono::seconds(2);
/// How often the files are looked at.
constexpr unsigned kReloadSeconds = 10;
/// Each stream that follows holds a thread: a few relays and people are served, a crowd is not.
constexpr int kMaxThreads = 64;
constexpr int kStreamsPerConnection = 16;

std::string openssl_reason() {
    const auto code = ERR_get_error();
    ERR_clear_error();
    const char* reason = ERR_reason_error_string(code);
    return reason == nullptr ? "it cannot be read" : reason;
}

/// gRPC would only log that a file is missing, and refuse every client.
Result<> check_files(const FlowListener& listener) {
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
    if (!context) {
        return failure(ENOMEM, "OpenSSL has no memory");
    }
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(context.get(), listener.certificate.c_str()) != 1) {
        return invalid("flow_tls_cert: {}: no PEM certificate: {}", listener.certificate, openssl_reason());
    }
    if (SSL_CTX_use_PrivateKey_file(context.get(), listener.key.c_str(), SSL_FILETYPE_PEM) != 1) {
        return invalid("flow_tls_key: {}: no PEM key of the certificate in {}: {}", listener.key, listener.certificate,
                       openssl_reason());
    }
    if (SSL_CTX_load_verify_file(context.get(), listener.authority.c_str()) != 1) {
        return invalid("flow_tls_ca: {}: no PEM certificates: {}", listener.authority, openssl_reason());
    }
    return {};
}

std::shared_ptr<grpc::ServerCredentials> credentials(const FlowListener& listener) {
    if (!listener.reach.tls) {
        return grpc::InsecureServerCredentials();
    }
    namespace tls = grpc::experimental;
    tls::TlsServerCredentialsOptions options(std::make_shared<tls::FileWatcherCertificateProvider>(
        listener.key, listener.certificate, listener.authority, kReloadSeconds));
    options.watch_identity_key_cert_pairs();
    options.watch_root_certs();
    options.set_cert_request_type(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
    options.set_check_call_host(false); // a name of ours in the request proves nothing about the client
    return tls::TlsServerCredentials(options);
}

} // namespace

class FlowServer::Impl {
public:
    Impl(FlowListener listener, const AgentView& view, const telemetry::FlowRing& ring)
        : listener_(std::move(listener)), observer_(view, ring, listener_.reach, stopping_),
          peers_(view, listener_.reach, stopping_) {}
    Impl(const Impl&) = delete;
    Impl& operator=(const Impl&) = delete;
    ~Impl() { stop(); }

    Result<> start() {
        if (listener_.reach.tls) {
            WEFT_TRY(ca::check_tls13());
            WEFT_TRY(check_files(listener_));
        }
        const auto host = listener_.reach.host.empty() ? std::string("[::]") : listener_.reach.host;
        const bool bare_v6 = host.front() != '[' && host.find(':') != std::string::npos;
        const auto address = fmt::format(fmt::runtime(bare_v6 ? "[{}]:{}" : "{}:{}"), host, listener_.reach.port);
        int bound = 0;
        grpc::ServerBuilder builder;
        builder.AddListeningPort(address, credentials(listener_), &bound);
        builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
        builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MIN_POLLERS, 1);
        builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 2);
        builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnection);
        builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0); // a second agent on this port is a mistake
        builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, 5000);
        builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
        builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
        // Relays ask every 10 s or so whether the connection lives, also while nobody follows.
        builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
        builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
        grpc::ResourceQuota quota("weft-flows");
        quota.SetMaxThreads(kMaxThreads);
        builder.SetResourceQuota(quota);
        builder.RegisterService(&observer_);
        builder.RegisterService(&peers_);
        server_ = builder.BuildAndStart();
        if (server_ == nullptr || bound == 0) {
            return failure(EADDRINUSE,
                           "flow_address: cannot listen on {}: the port is taken, or the address is none of this "
                           "machine; choose another one",
                           address);
        }
        return {};
    }

    void stop() {
        if (stopping_.exchange(true) || server_ == nullptr) {
            return;
        }
        server_->Shutdown(std::chrono::system_clock::now() + kDrain);
        server_->Wait();
    }

private:
    FlowListener listener_;
    std::atomic<bool> stopping_ = false;
    ObserverService observer_;
    PeerService peers_;
    std::unique_ptr<grpc::Server> server_;
};

FlowServer::FlowServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
FlowServer::FlowServer(FlowServer&&) noexcept = default;
FlowServer& FlowServer::operator=(FlowServer&&) noexcept = default;
FlowServer::~FlowServer() = default;

Result<FlowServer> FlowServer::start(FlowListener listener, const AgentView& view, const telemetry::FlowRing& ring) {
    auto impl = std::make_unique<Impl>(std::move(listener), view, ring);
    WEFT_TRY(impl->start());
    return FlowServer(std::move(impl));
}

void FlowServer::stop() {
    if (impl_ != nullptr) {
        impl_->stop();
    }
}

} // namespace weft::admin
