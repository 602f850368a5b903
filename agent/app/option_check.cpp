// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/option_check.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <initializer_list>

#include "agent/app/option_keys.hpp"
#include "agent/app/option_values.hpp"
#include "agent/otlp/endpoint.hpp"

namespace weft::app {
namespace {

constexpr std::size_t kFingerprintDigits = 64;

/// The three sources of certificates.
constexpr std::array<std::string_view, 3> kSources{"ca_address", "identity_files", "workload_api"};
/// What only makes sense beside ca_address.
constexpr std::array<std::string_view, 3> kForAuthority{"ca_token_file", "ca_fingerprint", "ca_state_dir"};
constexpr std::array<std::string_view, 4> kForFederation{"federation", "federation_addresses", "federation_dial",
                                                         "federation_ca"};

class Check {
public:
    Check(const Options& options, const Origins& origins) : options_(options), origins_(origins) {}

    Result<> run() const {
        WEFT_TRY(one_source());
        WEFT_TRY(source_itself());
        WEFT_TRY(bundles());
        WEFT_TRY(addresses());
        WEFT_TRY(dialled());
        WEFT_TRY(flow_listener());
        WEFT_TRY(access_log());
        return otlp();
    }

private:
    [[nodiscard]] std::string where(std::string_view key) const {
        const auto found = origins_.find(key);
        return found == origins_.end() ? std::string(key) : found->second;
    }
    template <typename... Args>
    std::unexpected<Error> wrong(std::string_view key, fmt::format_string<Args...> text, Args&&... args) const {
        return invalid("{}: {}", where(key), fmt::format(text, std::forward<Args>(args)...));
    }
    [[nodiscard]] bool given(std::string_view key) const {
        const std::map<std::string_view, bool> set = {
            {"ca_address", !options_.ca_address.empty()},
            {"identity_files", !options_.identity_files.empty()},
            {"workload_api", !options_.workload_api.empty()},
            {"ca_token_file", !options_.ca_token_file.empty()},
            {"ca_fingerprint", !options_.ca_fingerprint.empty()},
            {"ca_state_dir", !options_.ca_state_dir.empty()},
            {"federation", !options_.federation.empty()},
            {"federation_ca", !options_.federation_ca.empty()},
            {"federation_addresses", !options_.federation_addresses.empty()},
            {"federation_dial", !options_.federation_dial.empty()},
        };
        return set.at(key);
    }
    [[nodiscard]] std::string_view source() const {
        for (const auto key : kSources) {
            if (given(key)) {
                return key;
            }
        }
        return {};
    }

    [[nodiscard]] Result<> one_source() const {
        const auto first = source();
        for (const auto key : kSources) {
            if (key != first && given(key)) {
                return wrong(key, "a source of certificates beside {}; remove one of them", where(first));
            }
        }
        for (const auto key : kForAuthority) {
            if (given(key) && first != "ca_address") {
                return wrong(key, "is for weft-ca as the source of certificates; give ca_address, too, or remove it");
            }
        }
        for (const auto key : kForFederation) {
            if (given(key) && first.empty()) {
                return wrong(key, "nobody here has an identity without a source of certificates; give ca_address, "
                                  "identity_files or workload_api");
            }
        }
        return {};
    }

    [[nodiscard]] Result<> source_itself() const {
        if (given("ca_address")) {
            if (given("ca_token_file") != given("ca_fingerprint")) {
                const bool token = given("ca_token_file");
                return wrong(token ? "ca_token_file" : "ca_fingerprint",
                             "joining needs {}, too; `weft-ca token create` prints both",
                             token ? "ca_fingerprint" : "ca_token_file");
            }
            std::string digits = options_.ca_fingerprint;
            std::erase(digits, ':');
            if (!digits.empty() && (digits.size() != kFingerprintDigits ||
                                    digits.find_first_not_of("0123456789abcdef") != std::string::npos)) {
                return wrong("ca_fingerprint",
                             "'{}' is not {} lower case hex digits; copy it from `weft-ca token create`",
                             options_.ca_fingerprint, kFingerprintDigits);
            }
        }
        std::error_code error;
        if (given("identity_files") && !std::filesystem::is_directory(options_.identity_files, error)) {
            return wrong("identity_files", "'{}' is no folder; make it, with tls.crt, tls.key and ca.crt",
                         options_.identity_files);
        }
        if (const auto& socket = options_.workload_api;
            !socket.empty() && !socket.starts_with("/") && !socket.starts_with("unix:/")) {
            return wrong("workload_api", "'{}' is no socket; write unix:///PATH", socket);
        }
        return {};
    }

    [[nodiscard]] Result<> bundles() const {
        for (const auto& [domain, location] : options_.federation) {
            if (domain == options_.trust_domain) {
                return wrong("federation", "'{}' is our own trust domain; its roots come with its certificates",
                             domain);
            }
            const bool https =
                location.starts_with("https://") && location.size() > std::string_view("https://").size();
            if (!https && !location.starts_with("/")) {
                return wrong("federation", "{}: '{}' is neither an absolute path nor an https URL", domain, location);
            }
            if (!options_.federation_addresses.contains(domain)) {
                return wrong("federation",
                             "{}: nobody may have its identities as long as no address is its own; give "
                             "federation_addresses for it",
                             domain);
            }
        }
        for (const auto& [domain, file] : options_.federation_ca) {
            const auto found = options_.federation.find(domain);
            if (found == options_.federation.end() || !found->second.starts_with("https://")) {
                return wrong("federation_ca", "{}: counts for an https URL in federation only; remove it", domain);
            }
            if (!file.starts_with("/")) {
                return wrong("federation_ca", "{}: '{}' is not an absolute path", domain, file);
            }
        }
        return {};
    }

    [[nodiscard]] Result<> addresses() const {
        for (const auto& [domain, blocks] : options_.federation_addresses) {
            if (domain == options_.trust_domain) {
                return wrong("federation_addresses", "'{}' is our own trust domain; Pods say where its workloads are",
                             domain);
            }
            // A Workload API server may send that bundle.
            if (!options_.federation.contains(domain) && !given("workload_api")) {
                return wrong("federation_addresses", "{}: its roots are unknown; give federation for it", domain);
            }
            for (const auto& [other, theirs] : options_.federation_addresses) {
                for (const auto& block : blocks) {
                    for (const auto& one : theirs) {
                        if (domain < other && (block.contains(one) || one.contains(block))) {
                            return wrong("federation_addresses",
                                         "{} of {} and {} of {} overlap; an address belongs to one trust domain",
                                         block.to_string(), domain, one.to_string(), other);
                        }
                    }
                }
            }
        }
        return {};
    }

    [[nodiscard]] Result<> dialled() const {
        for (const auto& [domain, blocks] : options_.federation_dial) {
            const auto own = options_.federation_addresses.find(domain);
            for (const auto& block : blocks) {
                const auto holds = [&](const Cidr& outer) { return outer.contains(block); };
                if (own == options_.federation_addresses.end() || std::ranges::none_of(own->second, holds)) {
                    return wrong("federation_dial", "{}: {} is not inside its federation_addresses; add it there",
                                 domain, block.to_string());
                }
            }
        }
        return {};
    }

    [[nodiscard]] Result<> flow_listener() const {
        const std::array<std::pair<std::string_view, const std::string*>, 3> files{{
            {"flow_tls_cert", &options_.flow_tls_cert},
            {"flow_tls_key", &options_.flow_tls_key},
            {"flow_tls_ca", &options_.flow_tls_ca},
        }};
        const bool listens = !options_.flow_address.empty();
        if (listens) {
            if (const auto address = split_address(options_.flow_address); !address) {
                return wrong("flow_address", "{}", address.error().message());
            }
        } else if (options_.flow_plaintext) {
            return wrong("flow_plaintext", "is for flow_address; give that, too, or remove it");
        }
        for (const auto& [name, file] : files) {
            if (file->empty()) {
                if (listens && !options_.flow_plaintext) {
                    return wrong("flow_address",
                                 "needs {}, too: clients prove who they are by mutual TLS; or set flow_plaintext to "
                                 "true, and anybody who reaches it reads all flows",
                                 name);
                }
                continue;
            }
            if (!listens) {
                return wrong(name, "is for flow_address; give that, too, or remove it");
            }
            if (options_.flow_plaintext) {
                return wrong(name, "there is no TLS with {}; remove one of them", where("flow_plaintext"));
            }
            if (::access(file->c_str(), R_OK) != 0) {
                return wrong(name, "'{}' cannot be read; put the PEM file there", *file);
            }
        }
        return {};
    }

    [[nodiscard]] Result<> access_log() const {
        const auto& log = options_.access_log;
        if (log.empty()) {
            return nothing_of("access_log", {"access_log_max_size", "access_log_files", "access_log_sampling"});
        }
        if (!options_.flow_events) {
            return wrong("access_log", "is written from flow events, which {} turns off; remove one of them",
                         where("flow_events"));
        }
        const auto folder = std::filesystem::path(log).parent_path();
        std::error_code error;
        if (log != "stdout" && !std::filesystem::is_directory(folder, error)) {
            return wrong("access_log", "'{}' is no folder; make it", folder.string());
        }
        return {};
    }

    /// None of `keys`, which do nothing without `main`, has another value than where nobody says anything.
    [[nodiscard]] Result<> nothing_of(std::string_view main, std::initializer_list<std::string_view> keys) const {
        for (const auto key : keys) {
            const auto known = std::ranges::find(option_keys(), key, &Key::name);
            if (known != option_keys().end() && known->get(options_) != known->get(Options())) {
                return wrong(key, "is for {}; give that, too, or remove it", main);
            }
        }
        return {};
    }

    [[nodiscard]] Result<> otlp() const {
        if (options_.otlp_endpoint.empty()) {
            return nothing_of("otlp_endpoint",
                              {"otlp_plaintext", "otlp_ca", "otlp_cert", "otlp_key", "otlp_headers_file",
                               "otlp_resource", "otlp_signals", "otlp_sampling", "otlp_queue"});
        }
        const auto endpoint = otlp::parse_endpoint(options_.otlp_endpoint);
        if (!endpoint) {
            return wrong("otlp_endpoint", "{}", endpoint.error().message());
        }
        if (!options_.flow_events) {
            return wrong("otlp_endpoint", "is fed by flow events, which {} turns off; remove one of them",
                         where("flow_events"));
        }
        if (!endpoint->tls && endpoint->leaves_node && !options_.otlp_plaintext) {
            return wrong("otlp_endpoint",
                         "'{}' would send who talks to whom in plaintext to another machine; write https://, or set "
                         "otlp_plaintext to true",
                         options_.otlp_endpoint);
        }
        for (const auto& [key, file] : {std::pair("otlp_ca", &options_.otlp_ca),
                                        {"otlp_cert", &options_.otlp_cert},
                                        {"otlp_key", &options_.otlp_key},
                                        {"otlp_headers_file", &options_.otlp_headers_file}}) {
            if (file->empty()) {
                continue;
            }
            if (!endpoint->tls && std::string_view(key) != "otlp_headers_file") {
                return wrong(key, "is for https:// in {}; change that, or remove it", where("otlp_endpoint"));
            }
            if (::access(file->c_str(), R_OK) != 0) {
                return wrong(key, "'{}' cannot be read; put the file there", *file);
            }
        }
        if (options_.otlp_cert.empty() != options_.otlp_key.empty()) {
            const bool cert = options_.otlp_key.empty();
            return wrong(cert ? "otlp_cert" : "otlp_key", "needs {}, too", cert ? "otlp_key" : "otlp_cert");
        }
        return {};
    }

    const Options& options_;
    const Origins& origins_;
};

} // namespace

Result<> check_options(Options& options, const Origins& origins) {
    if (options.node_name.empty()) {
        std::array<char, 256> name{};
        if (::gethostname(name.data(), name.size() - 1) != 0) {
            return system_failure("node_name is not set and the host name cannot be read");
        }
        options.node_name = name.data();
    }
    if (options.manifests.empty()) {
        return invalid("manifests: not set; give the folder of Kubernetes YAML with --manifests DIR");
    }
    if (options.pin_dir.empty() || options.run_dir.empty()) {
        return invalid("pin_dir and run_dir must not be empty");
    }
    WEFT_TRY(Check(options, origins).run());
    if (!options.ca_address.empty() && options.ca_state_dir.empty()) {
        options.ca_state_dir = options.run_dir + "/identity";
    }
    return {};
}

} // namespace weft::app
