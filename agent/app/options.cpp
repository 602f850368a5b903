// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/options.hpp"

#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <set>
#include <string_view>

#include "weft/base/spiffe_id.hpp"

namespace weft::app {
namespace {

/// One configuration key. The flag is --key with dashes, the variable WEFT_KEY in capitals.
struct Key {
    std::string_view name; ///< as in the file: lower case, underscores
    std::string_view value; ///< placeholder in --help
    std::string_view help;
    std::function<Result<>(Options&, const std::string&)> set;
    std::function<std::string(const Options&)> get;
};

Result<> set_text(std::string& target, const std::string& text) {
    target = text;
    return {};
}

Result<> set_choice(std::string& target, const std::string& text, const std::vector<std::string>& choices) {
    if (std::ranges::find(choices, text) == choices.end()) {
        return invalid("'{}' is not one of: {}", text, fmt::join(choices, ", "));
    }
    target = text;
    return {};
}

Result<long> number(const std::string& text, long least, long most) {
    long value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
        return invalid("'{}' is not a number from {} to {}", text, least, most);
    }
    return value;
}

Result<> set_bool(bool& target, const std::string& text) {
    if (text != "true" && text != "false") {
        return invalid("'{}' is neither true nor false", text);
    }
    target = text == "true";
    return {};
}

Result<> set_directory(std::string& target, const std::string& text) {
    if (!text.empty() && text.front() != '/') {
        return invalid("'{}' is not an absolute path", text);
    }
    target = text;
    while (target.size() > 1 && target.back() == '/') {
        target.pop_back();
    }
    return {};
}

const std::vector<Key>& keys() {
    using O = Options;
    using S = const std::string&;
    static const std::vector<Key> table = {
        {"node_name", "NAME", "name of this node's Node object [host name]",
         [](O& o, S v) { return set_text(o.node_name, v); }, [](const O& o) { return o.node_name; }},
        {"cgroup_path", "DIR",
         "cgroup v2 directory that holds the workloads, for example .../kubepods [the cgroup v2 root]",
         [](O& o, S v) { return set_directory(o.cgroup_path, v); }, [](const O& o) { return o.cgroup_path; }},
        {"pin_dir", "DIR", "where maps and links are pinned, on a bpf file system [/sys/fs/bpf/weft]",
         [](O& o, S v) { return set_directory(o.pin_dir, v); }, [](const O& o) { return o.pin_dir; }},
        {"run_dir", "DIR", "sockets (admin.sock, enrol.sock) and the list of enrolled pods [/run/weft]",
         [](O& o, S v) { return set_directory(o.run_dir, v); }, [](const O& o) { return o.run_dir; }},
        {"manifests", "DIR", "folder of Kubernetes YAML that drives this node; watched for changes",
         [](O& o, S v) { return set_directory(o.manifests, v); }, [](const O& o) { return o.manifests; }},
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
         [](O& o, S v) { return set_directory(o.ca_token_file, v); }, [](const O& o) { return o.ca_token_file; }},
        {"ca_fingerprint", "HEX", "SHA-256 of weft-ca's root, as `weft-ca token create` prints it, for joining",
         [](O& o, S v) { return set_text(o.ca_fingerprint, v); }, [](const O& o) { return o.ca_fingerprint; }},
        {"identity_files", "DIR", "folder of tls.crt, tls.key and ca.crt, as the source of certificates",
         [](O& o, S v) { return set_directory(o.identity_files, v); }, [](const O& o) { return o.identity_files; }},
        {"workload_api", "SOCKET", "of a SPIFFE Workload API server, as the source of certificates",
         [](O& o, S v) { return set_text(o.workload_api, v); }, [](const O& o) { return o.workload_api; }},
        {"relay_socket", "SOCKET", "of weft-relay, which splices where the kernel has TLS [none: user space]",
         [](O& o, S v) { return set_directory(o.relay_socket, v); }, [](const O& o) { return o.relay_socket; }},
        {"key_limit", "MIB", "what one key may carry in one direction, 0 to 1000000000, 0: any number [65536]",
         [](O& o, S v) -> Result<> {
             WEFT_ASSIGN(o.key_limit, number(v, 0, 1'000'000'000));
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
             WEFT_ASSIGN(const long seconds, number(v, 1, 3600));
             o.repair_interval = std::chrono::seconds(seconds);
             return {};
         },
         [](const O& o) { return std::to_string(o.repair_interval.count()); }},
        {"flow_buffer", "FLOWS", "flows kept in memory for `weft flows --last`, 1 to 1000000 [4096]",
         [](O& o, S v) -> Result<> {
             WEFT_ASSIGN(const long flows, number(v, 1, 1000000));
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

std::string flag_of(const Key& key) {
    std::string flag = "--" + std::string(key.name);
    std::ranges::replace(flag, '_', '-');
    return flag;
}

std::string variable_of(const Key& key) {
    std::string variable = "WEFT_" + std::string(key.name);
    std::ranges::transform(variable, variable.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return variable;
}

std::string help_text() {
    std::string text =
        "weftd - the node agent of Weft\n\nUsage: weftd [--config FILE] [--KEY VALUE ...]\n\n"
        "Each key can stand in the YAML file, in the environment (WEFT_KEY), or as a flag; the last one wins.\n\n"
        "  --config FILE            YAML file with the keys below (underscores instead of dashes)\n"
        "  --check-config           check everything, print the result, and stop\n"
        "  --version                print the version and stop\n"
        "  --help                   this text\n\n";
    for (const auto& key : keys()) {
        text += fmt::format("  {:<24} {}\n", flag_of(key) + " " + std::string(key.value), key.help);
    }
    text += "\nSignals: TERM and INT stop the agent and leave the data path at work; `weft uninstall` removes it.\n"
            "Exit codes: 0 stopped on request, 1 failed, 2 wrong configuration.\n";
    return text;
}

Result<> read_file(Options& options, const std::string& path) {
    YAML::Node root;
    try {
        root = YAML::LoadFile(path);
    } catch (const YAML::BadFile&) {
        return invalid("{}: cannot be read; check the path of --config", path);
    } catch (const YAML::Exception& error) {
        return invalid("{}:{}: not valid YAML: {}", path, error.mark.line + 1, error.msg);
    }
    if (root.IsNull()) {
        return {};
    }
    if (!root.IsMap()) {
        return invalid("{}: must be a mapping of keys to values; see weftd --help", path);
    }
    for (const auto& entry : root) {
        const auto name = entry.first.as<std::string>("");
        const auto key = std::ranges::find(keys(), std::string_view(name), &Key::name);
        if (key == keys().end()) {
            return invalid("{}:{}: unknown key '{}'; see weftd --help for the keys", path, entry.first.Mark().line + 1,
                           name);
        }
        if (!entry.second.IsScalar() && !entry.second.IsNull()) {
            return invalid("{}:{}: {}: must be a single value", path, entry.second.Mark().line + 1, name);
        }
        if (auto set = key->set(options, entry.second.as<std::string>("")); !set) {
            return std::unexpected(
                set.error().within(fmt::format("{}:{}: {}", path, entry.second.Mark().line + 1, name)));
        }
    }
    return {};
}

Result<> check(Options& options) {
    if (options.node_name.empty()) {
        std::array<char, 256> name{};
        if (::gethostname(name.data(), name.size() - 1) != 0) {
            return system_failure("node_name is not set and the host name cannot be read");
        }
        options.node_name = name.data();
    }
    if ((options.ca_address.empty() ? 0 : 1) + (options.identity_files.empty() ? 0 : 1) +
            (options.workload_api.empty() ? 0 : 1) >
        1) {
        return invalid("ca_address, identity_files, workload_api: give one source of certificates, not several");
    }
    if (options.manifests.empty()) {
        return invalid("manifests: not set; give the folder of Kubernetes YAML with --manifests DIR");
    }
    if (options.pin_dir.empty() || options.run_dir.empty()) {
        return invalid("pin_dir and run_dir must not be empty");
    }
    if (!options.metrics_address.empty() && options.metrics_address.rfind(':') == std::string::npos) {
        return invalid("metrics_address: '{}' is not HOST:PORT", options.metrics_address);
    }
    return {};
}

} // namespace

Result<Invocation> parse_options(const std::vector<std::string>& arguments) {
    Invocation invocation;
    std::string file;
    std::vector<std::pair<const Key*, std::string>> given;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        std::string flag = arguments[i];
        if (flag == "--help" || flag == "-h") {
            invocation.help = help_text();
            return invocation;
        }
        if (flag == "--version") {
            invocation.version = true;
            return invocation;
        }
        if (flag == "--check-config") {
            invocation.check_config = true;
            continue;
        }
        std::string value;
        const auto equals = flag.find('=');
        const auto key_name = flag.substr(0, equals);
        const auto key = std::ranges::find_if(keys(), [&](const Key& k) { return flag_of(k) == key_name; });
        if (key == keys().end() && key_name != "--config") {
            return invalid("unknown argument '{}'; see weftd --help", flag);
        }
        if (equals != std::string::npos) {
            value = flag.substr(equals + 1);
        } else if (++i < arguments.size()) {
            value = arguments[i];
        } else {
            return invalid("{}: needs a value", flag);
        }
        if (key_name == "--config") {
            file = value;
        } else {
            given.emplace_back(&*key, value);
        }
    }
    if (!file.empty()) {
        WEFT_TRY(read_file(invocation.options, file));
    }
    for (const auto& key : keys()) {
        if (const char* value = std::getenv(variable_of(key).c_str()); value != nullptr) {
            if (auto set = key.set(invocation.options, value); !set) {
                return std::unexpected(set.error().within("environment variable " + variable_of(key)));
            }
        }
    }
    for (const auto& [key, value] : given) {
        if (auto set = key->set(invocation.options, value); !set) {
            return std::unexpected(set.error().within(flag_of(*key)));
        }
    }
    WEFT_TRY(check(invocation.options));
    return invocation;
}

std::string describe(const Options& options) {
    std::string text;
    for (const auto& key : keys()) {
        text += fmt::format("{}: {}\n", key.name, key.get(options));
    }
    return text;
}

} // namespace weft::app
