// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/option_keys.hpp"

#include "agent/app/option_values.hpp"
#include "weft/base/spiffe_id.hpp"

namespace weft::app {

const std::vector<Key>& option_keys() {
    using O = Options;
    using S = const std::string&;
    static const std::vector<Key> table = {
        {"node_name", "NAME", "name of this node's Node object [host name]",
         [](O& o, S v) { return set_text(o.node_name, v); }, [](const O& o) { return o.node_name; }},
        {"cgroup_path", "DIR",
         "cgroup v2 directory that holds the workloads, for example .../kubepods [the cgroup v2 root]",
         [](O& o, S v) { return set_path(o.cgroup_path, v); }, [](const O& o) { return o.cgroup_path; }},
        {"pin_dir", "DIR", "where maps and links are pinned, on a bpf file system [/sys/fs/bpf/weft]",
         [](O& o, S v) { return set_path(o.pin_dir, v); }, [](const O& o) { return o.pin_dir; }},
        {"run_dir", "DIR", "sockets (admin.sock, enrol.sock) and the list of enrolled pods [/run/weft]",
         [](O& o, S v) { return set_path(o.run_dir, v); }, [](const O& o) { return o.run_dir; }},
        {"manifests", "DIR", "folder of Kubernetes YAML that drives this node; watched for changes",
         [](O& o, S v) { return set_path(o.manifests, v); }, [](const O& o) { return o.manifests; }},
        {"metrics_address", "HOST:PORT", "where Prometheus scrapes /metrics; empty: nowhere [127.0.0.1:9964]",
         [](O& o, S v) { return set_text(o.metrics_address, v); }, [](const O& o) { return o.metrics_address; }},
        {"socket_group", "GROUP", "group that may use `weft` on this node, besides root [none]",
         [](O& o, S v) { return set_text(o.socket_group, v); }, [](const O& o) { return o.socket_group; }},
        {"log_level", "LEVEL", "trace, debug, info, warning or error [info]",
         [](O& o, S v) { return set_choice(o.log_level, v, {"trace", "debug", "info", "warning", "error"}); },
         [](const O& o) { return o.log_level; }},
        {"unknown_workloads", "WHAT", "sockets of a network namespace that no pod owns: refuse or allow [refuse]",
         [](O& o, S v) { return set_choice(o.unknown_workloads, v, {"refuse", "allow"}); },
         [](const O& o) { return o.unknown_workloads; }},
        {"trust_domain", "DOMAIN", "of this mesh's identities, spiffe://DOMAIN/ns/NS/sa/SA [cluster.local]",
         [](O& o, S v) -> Result<> {
             WEFT_TRY(check_trust_domain(v));
             return set_text(o.trust_domain, v);
         },
         [](const O& o) { return o.trust_domain; }},
        {"ca_address", "HOST:PORT", "weft-ca, as the source of certificates [none: no mutual TLS]",
         [](O& o, S v) { return set_text(o.ca_address, v); }, [](const O& o) { return o.ca_address; }},
        {"ca_token_file", "FILE", "token from `weft-ca token create`, read when this node joins",
         [](O& o, S v) { return set_path(o.ca_token_file, v); }, [](const O& o) { return o.ca_token_file; }},
        {"ca_fingerprint", "HEX", "SHA-256 of weft-ca's root, as `weft-ca token create` prints it, for joining",
         [](O& o, S v) { return set_text(o.ca_fingerprint, v); }, [](const O& o) { return o.ca_fingerprint; }},
        {"ca_state_dir", "DIR", "keeps what weft-ca gave this node; over a reboot if you can [run_dir/identity]",
         [](O& o, S v) { return set_path(o.ca_state_dir, v); }, [](const O& o) { return o.ca_state_dir; }},
        {"identity_files", "DIR", "folder of tls.crt, tls.key and ca.crt, as the source of certificates",
         [](O& o, S v) { return set_path(o.identity_files, v); }, [](const O& o) { return o.identity_files; }},
        {"workload_api", "SOCKET", "of a SPIFFE Workload API server, as the source of certificates",
         [](O& o, S v) { return set_text(o.workload_api, v); }, [](const O& o) { return o.workload_api; }},
        {"federation", "DOMAIN=WHERE", "roots of other trust domains: a file, or an https URL of a bundle [none]",
         [](O& o, S v) { return set_by_domain(o.federation, v); }, [](const O& o) { return text_of(o.federation); },
         true},
        {"federation_ca", "DOMAIN=FILE", "whom to believe at such a URL [the system's authorities]",
         [](O& o, S v) { return set_by_domain(o.federation_ca, v); },
         [](const O& o) { return text_of(o.federation_ca); }, true},
        {"federation_addresses", "DOMAIN=CIDR,...", "where the workloads of another trust domain are [nowhere]",
         [](O& o, S v) { return set_blocks(o.federation_addresses, v); },
         [](const O& o) { return text_of(o.federation_addresses); }, true},
        {"federation_dial", "DOMAIN=CIDR,...", "those of them that are reached by mutual TLS on every port [none]",
         [](O& o, S v) { return set_blocks(o.federation_dial, v); },
         [](const O& o) { return text_of(o.federation_dial); }, true},
        {"federation_interval", "SECONDS", "how often URLs of bundles are asked, 1 to 86400 [300]",
         [](O& o, S v) -> Result<> {
             WEFT_ASSIGN(const long seconds, parse_number(v, 1, 86400));
             o.federation_interval = std::chrono::seconds(seconds);
             return {};
         },
         [](const O& o) { return std::to_string(o.federation_interval.count()); }},
        {"relay_socket", "SOCKET", "of weft-relay, which splices where the kernel has TLS [none: user space]",
         [](O& o, S v) { return set_path(o.relay_socket, v); }, [](const O& o) { return o.relay_socket; }},
        {"key_limit", "MIB", "what one key may carry in one direction, 0 to 1000000000, 0: any number [65536]",
         [](O& o, S v) -> Result<> {
             WEFT_ASSIGN(o.key_limit, parse_number(v, 0, 1'000'000'000));
             return {};
         },
         [](const O& o) { return std::to_string(o.key_limit); }},
        {"key_limit_policy", "WHAT", "at key_limit, where the kernel cannot change keys: warn or close [warn]",
         [](O& o, S v) { return set_choice(o.key_limit_policy, v, {"warn", "close"}); },
         [](const O& o) { return o.key_limit_policy; }},
        {"session_resumption", "BOOL", "resume TLS sessions with peers instead of whole handshakes [true]",
         [](O& o, S v) { return set_bool(o.session_resumption, v); },
         [](const O& o) { return o.session_resumption ? "true" : "false"; }},
        {"repair_interval", "SECONDS", "how often maps are read back and repaired, 1 to 3600 [10]",
         [](O& o, S v) -> Result<> {
             WEFT_ASSIGN(const long seconds, parse_number(v, 1, 3600));
             o.repair_interval = std::chrono::seconds(seconds);
             return {};
         },
         [](const O& o) { return std::to_string(o.repair_interval.count()); }},
        {"flow_buffer", "FLOWS", "flows kept in memory for `weft flows --last`, 1 to 1000000 [4096]",
         [](O& o, S v) -> Result<> {
             WEFT_ASSIGN(const long flows, parse_number(v, 1, 1000000));
             o.flow_buffer = static_cast<std::size_t>(flows);
             return {};
         },
         [](const O& o) { return std::to_string(o.flow_buffer); }},
        {"flow_events", "BOOL", "report connections as flows; counters do not depend on it [true]",
         [](O& o, S v) { return set_bool(o.flow_events, v); },
         [](const O& o) { return o.flow_events ? "true" : "false"; }},
    };
    return table;
}

} // namespace weft::app
