// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A weft-ca that serves: nodes over TLS 1.3, administrators over a unix socket, and regular work in between.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "agent/ca/issuer.hpp"

namespace weft::ca {

struct ServerOptions {
    std::string folder;                ///< the authority's
    std::string listen = "[::]:8443"; ///< for nodes; port 0: any
    std::string manifests;             ///< folder of Kubernetes YAML that says which pods run where; may be empty
    IssuerOptions issuer;
};

/// Path of the administrators' socket in a folder.
std::string admin_socket(const std::string& folder);

class Server {
public:
    /// Listens. Errors: as StateFolder::open(), Authority::open(), open_manifest_pods(), check_tls13(); EADDRINUSE.
    static Result<std::unique_ptr<Server>> start(const ServerOptions& options);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();

    /// The port for nodes.
    [[nodiscard]] int port() const;
    [[nodiscard]] Issuer& issuer();
    /// Every minute or so: as Issuer::tick(), and a new certificate for the server itself when it is time.
    Result<> tick();

private:
    class Impl;
    explicit Server(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

} // namespace weft::ca
