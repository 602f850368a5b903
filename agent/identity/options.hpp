// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What an administrator says about identities, and the Keeper that follows from it.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "agent/identity/keeper.hpp"

namespace weft::identity {

/// Field names are the keys in weftd's configuration, with the prefix `identity_`; docs/identity.md explains each.
struct Options {
    std::string source = "none"; ///< "none", "weft-ca", "files" or "workload-api"
    std::string trust_domain = "cluster.local"; ///< first part of every identity of this mesh

    std::string ca_address;     ///< weft-ca: HOST:PORT
    std::string ca_fingerprint; ///< weft-ca: SHA-256 of its root, from `weft-ca token create`; only for joining
    std::string ca_token_file;  ///< weft-ca: file with the join token, mode 0600; may go after joining
    std::string state_dir;      ///< weft-ca: keeps this node's certificate; survives a reboot; mode 0700

    std::string files_dir; ///< files: tls.crt, tls.key, ca.crt, in it or in each of its subfolders

    std::string workload_api; ///< workload-api: unix:///PATH; $SPIFFE_ENDPOINT_SOCKET when empty

    /// "DOMAIN=LOCATION" or "DOMAIN=LOCATION,CA-FILE": absolute path or https URL of another trust domain's bundle.
    std::vector<std::string> federation;
    std::chrono::seconds federation_interval{300}; ///< how often URLs are asked
};

/// Checks without opening anything. Error: EINVAL naming the key and the remedy.
Result<> check_options(const Options& options);

/// Opens source and federation. `node_name`: as the Node object has it. Null when the source is "none". Errors: as
/// check_options(), and those of the source.
Result<std::unique_ptr<Keeper>> open_keeper(const Options& options, const std::string& node_name,
                                            KeeperOptions keeper_options = {});

/// "DOMAIN=LOCATION[,CA-FILE]" taken apart. Error: EINVAL.
Result<FederatedDomain> parse_federated(const std::string& text);

} // namespace weft::identity
