// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weft-ca as a source: this node joins once with a token, renews its own certificate by the one it has, asks for its
// workloads', and listens to the trust bundle. Keys of workloads are made here, in memory.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/identity/source.hpp"

namespace weft::identity {

struct CaOptions {
    std::string address;      ///< HOST:PORT
    std::string trust_domain; ///< the mesh's
    std::string node_name;    ///< as the Node object has it, and as the token was made for
    std::string state_folder; ///< keeps the node's certificate over restarts; made with mode 0700
    std::string token_file;   ///< read when this node has no certificate yet
    std::string fingerprint;  ///< of the root, from `weft-ca token create`; only for joining
    std::function<Time()> now{}; ///< what dates of the server are judged by; the system's clock when empty
};

/// Errors: EINVAL naming the option, EPERM for a folder or file that others may read. Nothing is asked yet.
Result<std::unique_ptr<Source>> open_ca_source(CaOptions options);

} // namespace weft::identity
