// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/option_keys.hpp"

#include <initializer_list>
#include <type_traits>
#include <utility>

#include "agent/app/option_values.hpp"
#include "weft/base/spiffe_id.hpp"

namespace weft::app {
namespace {

std::string shown(const std::string& text) {
    return text;
}

std::string shown(bool value) {
    return value ? "true" : "false";
}

std::string shown(std::chrono::seconds value) {
    return std::to_string(value.count());
}

std::string shown(std::integral auto value) {
    return std::to_string(value);
}

template <typename Value>
std::string shown(const std::map<std::string, Value>& by_domain) {
    return text_of(by_domain);
}

auto one_of(std::initializer_list<std::string> choices) {
    return [choices = std::vector(choices)](std::string& target, const std::string& text) {
        return set_choice(target, text, choices);
    };
}

auto from_to(long least, long most) {
    return [least, most]<typename Number>(Number& target, const std::string& text) -> Result<> {
        WEFT_ASSIGN(const long number, parse_number(text, least, most));
        target = Number(number);
        return {};
    };
}

Result<> set_trust_domain(std::string& target, const std::string& text) {
    WEFT_TRY(check_trust_domain(text));
    return set_text(target, text);
}

template <typename Member>
struct IsMapping : std::false_type {};
template <typename Value>
struct IsMapping<std::map<std::string, Value>> : std::true_type {};

/// `set` makes the member of a text; shown() is its inverse.
template <typename Member, typename Set>
Key key(std::string_view name, std::string_view value, std::string_view help, Member Options::* member,
        const Set& set) {
    return {.name = name,
            .value = value,
            .help = help,
            .set = [=](Options& options, const std::string& text) -> Result<> { return set(options.*member, text); },
            .get = [=](const Options& options) { return shown(options.*member); },
            .mapping = IsMapping<Member>::value};
}

} // namespace

const std::vector<Key>& option_keys() {
    using O = Options;
    static const std::vector<Key> table = {
        key("node_name", "NAME", "name of this node's Node object [host name]", &O::node_name, set_text),
        key("cgroup_path", "DIR",
            "cgroup v2 directory that holds the workloads, for example .../kubepods [the cgroup v2 root]",
            &O::cgroup_path, set_path),
        key("pin_dir", "DIR", "where maps and links are pinned, on a bpf file system [/sys/fs/bpf/weft]", &O::pin_dir,
            set_path),
        key("run_dir", "DIR", "sockets (admin.sock, enrol.sock) and the list of enrolled pods [/run/weft]", &O::run_dir,
            set_path),
        key("manifests", "DIR", "folder of Kubernetes YAML that drives this node; watched for changes", &O::manifests,
            set_path),
        key("metrics_address", "HOST:PORT", "where Prometheus scrapes /metrics; empty: nowhere [127.0.0.1:9964]",
            &O::metrics_address, set_address),
        key("socket_group", "GROUP", "group that may use `weft` on this node, besides root [none]", &O::socket_group,
            set_text),
        key("log_level", "LEVEL", "trace, debug, info, warning or error [info]", &O::log_level,
            one_of({"trace", "debug", "info", "warning", "error"})),
        key("unknown_workloads", "WHAT", "sockets of a network namespace that no pod owns: refuse or allow [refuse]",
            &O::unknown_workloads, one_of({"refuse", "allow"})),
        key("acceleration", "WHAT",
            "bytes between workloads of this node skip TCP/IP: auto (where the kernel keeps all of TCP's rules), on "
            "or off [auto]",
            &O::acceleration, one_of({"auto", "on", "off"})),
        key("trust_domain", "DOMAIN", "of this mesh's identities, spiffe://DOMAIN/ns/NS/sa/SA [cluster.local]",
            &O::trust_domain, set_trust_domain),
        key("ca_address", "HOST:PORT", "weft-ca, as the source of certificates [none: no mutual TLS]", &O::ca_address,
            set_address),
        key("ca_token_file", "FILE", "token from `weft-ca token create`, read when this node joins", &O::ca_token_file,
            set_path),
        key("ca_fingerprint", "HEX", "SHA-256 of weft-ca's root, as `weft-ca token create` prints it, for joining",
            &O::ca_fingerprint, set_text),
        key("ca_state_dir", "DIR", "keeps what weft-ca gave this node; over a reboot if you can [run_dir/identity]",
            &O::ca_state_dir, set_path),
        key("identity_files", "DIR", "folder of tls.crt, tls.key and ca.crt, as the source of certificates",
            &O::identity_files, set_path),
        key("workload_api", "SOCKET", "of a SPIFFE Workload API server, as the source of certificates",
            &O::workload_api, set_text),
        key("federation", "DOMAIN=WHERE", "roots of other trust domains: a file, or an https URL of a bundle [none]",
            &O::federation, set_by_domain),
        key("federation_ca", "DOMAIN=FILE", "whom to believe at such a URL [the system's authorities]",
            &O::federation_ca, set_by_domain),
        key("federation_addresses", "DOMAIN=CIDR,...", "where the workloads of another trust domain are [nowhere]",
            &O::federation_addresses, set_blocks),
        key("federation_dial", "DOMAIN=CIDR,...", "those of them that are reached by mutual TLS on every port [none]",
            &O::federation_dial, set_blocks),
        key("federation_interval", "SECONDS", "how often URLs of bundles are asked, 1 to 86400 [300]",
            &O::federation_interval, from_to(1, 86400)),
        key("relay_socket", "SOCKET", "of weft-relay, which splices where the kernel has TLS [none: user space]",
            &O::relay_socket, set_path),
        key("key_limit", "MIB", "what one key may carry in one direction, 0 to 1000000000, 0: any number [65536]",
            &O::key_limit, from_to(0, 1'000'000'000)),
        key("key_limit_policy", "WHAT", "at key_limit, where the kernel cannot change keys: warn or close [warn]",
            &O::key_limit_policy, one_of({"warn", "close"})),
        key("session_resumption", "BOOL", "resume TLS sessions with peers instead of whole handshakes [true]",
            &O::session_resumption, set_bool),
        key("repair_interval", "SECONDS", "how often maps are read back and repaired, 1 to 3600 [10]",
            &O::repair_interval, from_to(1, 3600)),
        key("flow_buffer", "FLOWS", "flows kept in memory for `weft flows --last`, 1 to 1000000 [4096]",
            &O::flow_buffer, from_to(1, 1'000'000)),
        key("cluster_name", "NAME", "value of source_cluster and destination_cluster in metrics [Kubernetes]",
            &O::cluster_name, set_text),
        key("traffic_entries", "ENTRIES",
            "pairs of workload and peer that are counted on their own, 1024 to 16777216; for new maps [65536]",
            &O::traffic_entries, from_to(1024, 16'777'216)),
        key("traffic_grace", "SECONDS", "how long counts of what is gone stay: one scrape interval, 1 to 3600 [60]",
            &O::traffic_grace, from_to(1, 3600)),
        key("flow_events", "BOOL", "report connections as flows; counters do not depend on it [true]", &O::flow_events,
            set_bool),
        key("udp_flow_timeout", "SECONDS",
            "without a datagram for so long a UDP flow has ended, 0 to 3600, 0: they are not followed [60]",
            &O::udp_flow_timeout, from_to(0, 3600)),
        key("flow_address", "HOST:PORT", "where other machines read flows (Hubble's API), by mutual TLS [nowhere]",
            &O::flow_address, set_text),
        key("flow_tls_cert", "FILE", "certificate of flow_address; it holds this node's name", &O::flow_tls_cert,
            set_path),
        key("flow_tls_key", "FILE", "its key", &O::flow_tls_key, set_path),
        key("flow_tls_ca", "FILE", "authorities whose certificates may read flows", &O::flow_tls_ca, set_path),
        key("flow_plaintext", "BOOL", "flow_address without TLS: anybody who reaches it reads all flows [false]",
            &O::flow_plaintext, set_bool),
        key("access_log", "FILE", "a JSON line for each connection that ended or was denied; or: stdout [none]",
            &O::access_log, set_log_file),
        key("access_log_max_size", "MIB", "of one file before the next is begun, 1 to 1000000 [64]",
            &O::access_log_max_size, from_to(1, 1'000'000)),
        key("access_log_files", "COUNT", "full files that are kept, 0 to 1000 [5]", &O::access_log_files,
            from_to(0, 1000)),
        key("access_log_sampling", "NAMESPACE=PERCENT", "share of lines by namespace, * for others [100 for all]",
            &O::access_log_sampling, set_percent_by_namespace),
        key("otlp_endpoint", "URL",
            "OTLP receiver (gRPC) of connections as logs and spans: https://, http:// or unix:/// [none]",
            &O::otlp_endpoint, set_text),
        key("otlp_plaintext", "BOOL",
            "http:// of otlp_endpoint may leave the node: on its way anybody reads it [false]", &O::otlp_plaintext,
            set_bool),
        key("otlp_ca", "FILE", "authorities of otlp_endpoint's certificate [the system's]", &O::otlp_ca, set_path),
        key("otlp_cert", "FILE", "certificate that is shown to otlp_endpoint [none]", &O::otlp_cert, set_path),
        key("otlp_key", "FILE", "its key", &O::otlp_key, set_path),
        key("otlp_headers_file", "FILE", "lines NAME: VALUE that go with each request, such as a token [none]",
            &O::otlp_headers_file, set_path),
        key("otlp_resource", "NAME=VALUE", "attributes of the resource, beside or instead of the agent's own [none]",
            &O::otlp_resource, set_by_name),
        key("otlp_signals", "WHAT", "both, logs or spans [both]", &O::otlp_signals, one_of({"both", "logs", "spans"})),
        key("otlp_sampling", "NAMESPACE=PERCENT", "share of connections by namespace, * for others [100 for all]",
            &O::otlp_sampling, set_percent_by_namespace),
        key("otlp_queue", "RECORDS", "that may wait for the receiver, of each signal, 1 to 1000000 [8192]",
            &O::otlp_queue, from_to(1, 1'000'000)),
    };
    return table;
}

} // namespace weft::app
