// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/identity/options.hpp"

#include <cstdlib>

#include "agent/identity/ca_source.hpp"
#include "agent/identity/files_source.hpp"
#include "agent/identity/workload_api_source.hpp"

namespace weft::identity {
namespace {

std::string workload_api_of(const Options& options) {
    if (!options.workload_api.empty()) {
        return options.workload_api;
    }
    const char* standard = std::getenv("SPIFFE_ENDPOINT_SOCKET");
    return standard != nullptr ? standard : "";
}

Result<std::unique_ptr<Source>> open_source(const Options& options, const std::string& node_name) {
    if (options.source == "weft-ca") {
        return open_ca_source({options.ca_address, options.trust_domain, node_name, options.state_dir,
                               options.ca_token_file, options.ca_fingerprint});
    }
    if (options.source == "files") {
        return open_files_source(options.files_dir);
    }
    return open_workload_api_source(workload_api_of(options));
}

} // namespace

Result<FederatedDomain> parse_federated(const std::string& text) {
    const auto equals = text.find('=');
    if (equals == std::string::npos) {
        return invalid("federation: '{}' is not DOMAIN=LOCATION", text);
    }
    FederatedDomain domain;
    domain.trust_domain = text.substr(0, equals);
    WEFT_TRY(check_trust_domain(domain.trust_domain));
    const auto comma = text.rfind(",/"); // a URL may hold a comma, a path of a CA file begins with a slash
    domain.location = text.substr(equals + 1, comma == std::string::npos ? comma : comma - equals - 1);
    if (comma != std::string::npos) {
        domain.ca_file = text.substr(comma + 1);
    }
    return domain;
}

Result<> check_options(const Options& options) {
    if (options.source == "none") {
        return {};
    }
    WEFT_TRY(check_trust_domain(options.trust_domain));
    const auto want = [](const std::string& value, const char* key, const char* remedy) -> Result<> {
        return value.empty() ? invalid("{}: not set; {}", key, remedy) : Result<>();
    };
    if (options.source == "weft-ca") {
        WEFT_TRY(want(options.ca_address, "identity_ca_address", "give HOST:PORT of weft-ca"));
        WEFT_TRY(want(options.state_dir, "identity_state_dir", "give a folder that survives a reboot"));
    } else if (options.source == "files") {
        WEFT_TRY(want(options.files_dir, "identity_files_dir", "give the folder with tls.crt, tls.key and ca.crt"));
    } else if (options.source == "workload-api") {
        WEFT_TRY(want(workload_api_of(options), "identity_workload_api", "give unix:///PATH of the socket"));
    } else {
        return invalid("identity_source: '{}' is not one of: none, weft-ca, files, workload-api", options.source);
    }
    for (const auto& one : options.federation) {
        WEFT_TRY(parse_federated(one));
    }
    return {};
}

Result<std::unique_ptr<Keeper>> open_keeper(const Options& options, const std::string& node_name,
                                            KeeperOptions keeper_options) {
    WEFT_TRY(check_options(options));
    if (options.source == "none") {
        return std::unique_ptr<Keeper>();
    }
    WEFT_ASSIGN(auto source, open_source(options, node_name));
    std::unique_ptr<Federation> federation;
    if (!options.federation.empty()) {
        std::vector<FederatedDomain> domains;
        for (const auto& one : options.federation) {
            WEFT_ASSIGN(auto domain, parse_federated(one));
            domains.push_back(std::move(domain));
        }
        WEFT_ASSIGN(federation,
                    Federation::start(std::move(domains), options.trust_domain, options.federation_interval));
    }
    return std::make_unique<Keeper>(std::move(source), std::move(federation), std::move(keeper_options));
}

} // namespace weft::identity
