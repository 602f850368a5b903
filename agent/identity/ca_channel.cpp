// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// gRPC's own check of the chain is switched off, as it can neither pin a root nor compare a SPIFFE ID; ours runs inside
// the handshake instead, before anything is sent.
#include "agent/identity/ca_channel.hpp"

#include <algorithm>

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include "agent/ca/pki/chain.hpp"
#include "agent/ca/pki/key.hpp"
#include "agent/ca/pki/names.hpp"
#include "agent/ca/rpc/tls13.hpp"
#include "weft/ktls/credentials.hpp"

namespace weft::identity {
namespace {

namespace tls = grpc::experimental;

constexpr int kLargestAnswer = 16 << 20; // a revocation list may be long
constexpr int kPingMs = 10000;
constexpr int kPingTimeoutMs = 5000;

class ServerCheck final : public tls::ExternalCertificateVerifier {
public:
    explicit ServerCheck(ServerTrust trust) : trust_(std::move(trust)) {}

    bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
                grpc::Status* status) override {
        const auto chain = request->peer_cert_full_chain();
        const auto now =
            trust_.now ? trust_.now() : std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
        const auto checked = check_server(std::string(chain.data(), chain.size()), trust_, now);
        *status =
            checked ? grpc::Status::OK : grpc::Status(grpc::StatusCode::UNAUTHENTICATED, checked.error().message());
        return true; // decided at once
    }
    void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

private:
    ServerTrust trust_;
};

/// gRPC wants some root even when it is told not to check; this one signs nothing.
Result<std::string> unused_root() {
    WEFT_ASSIGN(const auto key, pki::new_key());
    const auto now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    WEFT_ASSIGN(const auto root,
                pki::make_root(key.get(), "unused", {now - std::chrono::hours(1), now + std::chrono::hours(1)}));
    return pki::pem_of(root.get());
}

} // namespace

Result<> check_server(const std::string& chain_pem, const ServerTrust& trust, pki::Time now) {
    auto chain = ktls::certificates_from_pem(chain_pem);
    if (!chain) {
        return failure(EKEYREJECTED, "the server sent no certificate");
    }
    const auto uris = pki::uris_of(chain->front().get());
    const auto wanted = pki::server_uri(trust.trust_domain);
    if (uris.size() != 1 || uris.front() != wanted) {
        return failure(EKEYREJECTED, "the server is {}, not {}: check address and trust domain",
                       uris.empty() ? "nobody that it could name" : uris.front(), wanted);
    }
    const auto known = trust.roots ? trust.roots->get() : nullptr;
    std::vector<OsslPtr<X509>> pinned;
    for (const auto& one : *chain) {
        if (!known && pki::fingerprint_of(one.get()).value_or("") == trust.fingerprint) {
            pinned.push_back(ktls::share(one.get()));
        }
    }
    if (!known && pinned.empty()) {
        return failure(EKEYREJECTED,
                       "the server's root is not the one with the fingerprint {}: weft-ca show prints the right one",
                       trust.fingerprint);
    }
    const auto& roots = known ? known->roots.at(trust.trust_domain) : pinned;
    if (auto valid = pki::verify_chain(*chain, roots, pki::Purpose::kServer, now); !valid) {
        return std::unexpected(valid.error().within("weft-ca's certificate"));
    }
    return {};
}

Result<std::shared_ptr<grpc::Channel>> open_channel(const std::string& address, ServerTrust trust,
                                                    const std::string& identity_key_pem,
                                                    const std::string& identity_chain_pem) {
    WEFT_TRY(ca::check_tls13());
    if (address.rfind(':') == std::string::npos) {
        return invalid("'{}' is not HOST:PORT", address);
    }
    WEFT_ASSIGN(const auto root, unused_root());
    tls::TlsChannelCredentialsOptions options;
    if (identity_chain_pem.empty()) {
        options.set_certificate_provider(std::make_shared<tls::StaticDataCertificateProvider>(root));
    } else {
        options.set_certificate_provider(std::make_shared<tls::StaticDataCertificateProvider>(
            root, std::vector<tls::IdentityKeyCertPair>{{identity_key_pem, identity_chain_pem}}));
        options.watch_identity_key_cert_pairs();
    }
    options.watch_root_certs();
    options.set_verify_server_certs(false);
    options.set_check_call_host(false);
    options.set_certificate_verifier(tls::ExternalCertificateVerifier::Create<ServerCheck>(std::move(trust)));
    grpc::ChannelArguments arguments;
    // Who the server is, whatever its address: goes out as server name.
    arguments.SetString(GRPC_SSL_TARGET_NAME_OVERRIDE_ARG, pki::kServerName);
    // Two channels with different certificates must not share a connection.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kPingMs);
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kPingTimeoutMs);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
    arguments.SetMaxReceiveMessageSize(kLargestAnswer);
    auto channel = grpc::CreateCustomChannel(address, tls::TlsCredentials(options), arguments);
    if (!channel) {
        return invalid("no channel to '{}'", address);
    }
    return channel;
}

} // namespace weft::identity
