// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A gRPC channel to weft-ca whose server is believed only when its certificate says spiffe://TRUST-DOMAIN/weft-ca and
// leads to a root that we trust, or to the one whose fingerprint the administrator gave. Names and addresses prove
// nothing.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include <grpcpp/channel.h>

#include "agent/identity/source.hpp"

namespace weft::identity {

/// The newest trust, for whoever has to ask again and again. Thread: any.
class TrustCell {
public:
    [[nodiscard]] TrustPtr get() const {
        const std::scoped_lock lock(mutex_);
        return trust_;
    }
    void set(TrustPtr trust) {
        const std::scoped_lock lock(mutex_);
        trust_ = std::move(trust);
    }

private:
    mutable std::mutex mutex_; ///< a handshake reads on gRPC's thread what the source writes on its own
    TrustPtr trust_;
};

/// Whom to believe at the other end.
struct ServerTrust {
    std::string trust_domain;
    std::shared_ptr<const TrustCell> roots; ///< asked at each handshake; null while joining
    std::function<Time()> now; ///< what dates are judged by; the system's clock when empty
    std::string fingerprint; ///< without roots: SHA-256 of the root that the server must send along, lower case hex
};

/// Judges what a server sent. Errors: EKEYREJECTED, EKEYEXPIRED.
Result<> check_server(const std::string& chain_pem, const ServerTrust& trust, pki::Time now);

/// `identity_pem`: key and chain of this node; empty before it has joined. Connects when it is first used.
/// Errors: EINVAL for an unusable address; as ca::check_tls13().
Result<std::shared_ptr<grpc::Channel>> open_channel(const std::string& address, ServerTrust trust,
                                                    const std::string& identity_key_pem,
                                                    const std::string& identity_chain_pem);

} // namespace weft::identity
