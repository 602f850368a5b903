// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What can be configured, and where it is said: a YAML file, then the environment, then flags; the last one wins.
// One table (option_keys.cpp) drives parsing, `--help`, `--check-config` and the manual, so they cannot disagree.
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "weft/base/ip.hpp"
#include "weft/base/result.hpp"

namespace weft::app {

struct Options {
    std::string node_name;                     ///< default: host name
    std::string cgroup_path;                   ///< cgroup v2 directory that holds the workloads
    std::string pin_dir = "/sys/fs/bpf/weft";
    std::string run_dir = "/run/weft";
    std::string manifests; ///< folder of Kubernetes YAML; required as long as it is the only source
    std::string metrics_address = "127.0.0.1:9964"; ///< empty: no metrics endpoint
    std::string socket_group; ///< group that may use the command line, besides root
    std::string log_level = "info";
    std::string unknown_workloads = "refuse"; ///< "refuse" or "allow"
    std::string acceleration = "auto"; ///< of connections inside the node: "auto", "on" or "off"
    std::string trust_domain = "cluster.local";
    std::string ca_address;     ///< weft-ca; one of these three, or none and no mutual TLS
    std::string identity_files; ///< folder in cert-manager's layout
    std::string workload_api;   ///< socket of a SPIFFE Workload API server
    std::string ca_token_file;
    std::string ca_fingerprint;
    std::string ca_state_dir; ///< after parsing never empty when ca_address is given
    std::map<std::string, std::string> federation;    ///< trust domain to absolute path or https URL of its roots
    std::map<std::string, std::string> federation_ca; ///< trust domain to whom to believe at its URL
    std::map<std::string, std::vector<Cidr>> federation_addresses; ///< where a trust domain's workloads are
    std::map<std::string, std::vector<Cidr>> federation_dial; ///< those of them that are reached by mutual TLS
    std::chrono::seconds federation_interval{300};
    std::string relay_socket; ///< of weft-relay; empty: connections are relayed in user space
    long key_limit = 65536; ///< MiB that one key may carry; 0: any number
    std::string key_limit_policy = "warn"; ///< "warn" or "close", where keys cannot be changed
    std::chrono::seconds repair_interval{10};
    std::size_t flow_buffer = 4096;
    std::string cluster_name = "Kubernetes"; ///< in metrics' labels
    std::uint32_t traffic_entries = 65536;   ///< capacity of the kernel's sums by workload and peer
    std::chrono::seconds traffic_grace{60};  ///< how long sums of what is gone stay
    std::chrono::seconds udp_flow_timeout{60}; ///< silence after which a UDP flow has ended; 0: they are not followed
    bool session_resumption = true; ///< with peers, whichever end opens the connection
    bool flow_events = true;
    std::string flow_address; ///< HOST:PORT where other machines read flows; empty: nowhere
    std::string flow_tls_cert, flow_tls_key, flow_tls_ca; ///< PEM files of that listener: chain, key, clients' roots
    bool flow_plaintext = false; ///< that listener has no TLS and answers anybody
    std::string access_log; ///< absolute path, "stdout", or empty: none
    long access_log_max_size = 64; ///< MiB of one file
    long access_log_files = 5;     ///< full files that are kept
    std::map<std::string, unsigned> access_log_sampling; ///< namespace, or "*" for the others, to percent
    std::string otlp_endpoint; ///< http://, https:// or unix:// of an OTLP receiver; empty: none
    bool otlp_plaintext = false; ///< http:// may leave the node
    std::string otlp_ca, otlp_cert, otlp_key; ///< PEM files of that connection: receiver's roots, own chain and key
    std::string otlp_headers_file; ///< lines NAME: VALUE for each request
    std::map<std::string, std::string> otlp_resource; ///< attributes of the resource, beside the agent's own
    std::string otlp_signals = "both"; ///< "both", "logs" or "spans"
    std::map<std::string, unsigned> otlp_sampling; ///< as access_log_sampling
    std::size_t otlp_queue = 8192; ///< records of one signal that may wait
};

/// What the command line asked for beside running.
struct Invocation {
    Options options;
    bool check_config = false;
    bool version = false;
    std::string help; ///< not empty: print it and stop
};

/// Reads file, environment and flags. Error: EINVAL naming the file or flag, the key, and the remedy.
Result<Invocation> parse_options(const std::vector<std::string>& arguments);

/// The options as a YAML file would say them, one "key: value" a line.
std::string describe(const Options& options);

} // namespace weft::app
