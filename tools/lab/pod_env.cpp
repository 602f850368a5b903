// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The kubelet's rules for environment variables, and the lab's for host names.
#include "tools/lab/pod_env.hpp"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string_view>

namespace weft::lab {
namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;

/// A Downward API reference, as the parser writes it.
std::optional<std::string> field_value(const k8s::Pod& pod, std::string_view path) {
    const auto joined = [&] {
        std::string text;
        for (const auto& ip : pod.ips) {
            text += (text.empty() ? "" : ",") + ip.to_string();
        }
        return text;
    };
    if (path == "status.podIP") {
        return pod.ips.empty() ? "" : pod.ips.front().to_string();
    }
    if (path == "status.podIPs") {
        return joined();
    }
    if (path == "metadata.name") {
        return pod.meta.name;
    }
    if (path == "metadata.namespace") {
        return pod.meta.namespace_name;
    }
    if (path == "metadata.uid") {
        return pod.meta.uid;
    }
    if (path == "spec.nodeName") {
        return pod.spec.node_name;
    }
    if (path == "spec.serviceAccountName") {
        return pod.spec.service_account;
    }
    return std::nullopt;
}

/// NAME_SERVICE_HOST, NAME_SERVICE_PORT and NAME_SERVICE_PORT_<PORT NAME>, as the kubelet sets them.
void add_service(const k8s::Service& service, Variables& variables) {
    if (service.cluster_ips.empty() || service.ports.empty()) {
        return;
    }
    const auto upper = [](std::string name) {
        std::ranges::transform(name, name.begin(), [](char c) {
            return c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        });
        return name;
    };
    const auto prefix = upper(service.meta.name);
    variables.emplace_back(prefix + "_SERVICE_HOST", service.cluster_ips.front().to_string());
    variables.emplace_back(prefix + "_SERVICE_PORT", std::to_string(service.ports.front().port));
    for (const auto& port : service.ports) {
        if (!port.name.empty()) {
            variables.emplace_back(prefix + "_SERVICE_PORT_" + upper(port.name), std::to_string(port.port));
        }
    }
}

void set(Variables& variables, const std::string& name, std::string value) {
    const auto found = std::ranges::find(variables, name, &Variables::value_type::first);
    if (found != variables.end()) {
        found->second = std::move(value);
    } else {
        variables.emplace_back(name, std::move(value));
    }
}

} // namespace

std::string expand(const std::string& text, const Variables& variables) {
    std::string out;
    for (std::size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '$' || at + 1 == text.size()) {
            out += text[at];
            continue;
        }
        if (text[at + 1] == '$') {
            out += '$';
            ++at;
            continue;
        }
        const auto end = text[at + 1] == '(' ? text.find(')', at) : std::string::npos;
        if (end == std::string::npos) {
            out += '$';
            continue;
        }
        const auto name = text.substr(at + 2, end - at - 2);
        const auto found = std::ranges::find(variables, name, &Variables::value_type::first);
        out += found != variables.end() ? found->second : text.substr(at, end - at + 1);
        at = end;
    }
    return out;
}

ContainerProcess container_process(const k8s::Pod& pod, const store::Table<k8s::Service>& services) {
    Variables variables{{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                        {"HOME", "/root"},
                        {"HOSTNAME", pod.meta.name}};
    for (const auto& [name, service] : services) {
        if (name.first == pod.meta.namespace_name) {
            add_service(*service, variables);
        }
    }
    ContainerProcess process;
    if (pod.spec.containers.empty()) {
        return process;
    }
    const auto& container = pod.spec.containers.front();
    for (const auto& [name, value] : container.env) {
        constexpr std::string_view kField = "$(field:";
        if (value.starts_with(kField) && value.ends_with(')')) {
            const auto path = std::string_view(value).substr(kField.size(), value.size() - kField.size() - 1);
            set(variables, name, field_value(pod, path).value_or(""));
        } else {
            set(variables, name, expand(value, variables));
        }
    }
    for (const auto* words : {&container.command, &container.args}) {
        for (const auto& word : *words) {
            process.argv.push_back(expand(word, variables));
        }
    }
    for (const auto& [name, value] : variables) {
        process.env.push_back(name + "=" + value);
    }
    return process;
}

std::string hosts_file(const k8s::Pod& pod, const store::Table<k8s::Service>& services,
                       const std::map<store::Name, std::vector<Ip>>& headless) {
    std::string text = "# Written by weft lab: Services by name, because the lab has no DNS server.\n"
                       "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    for (const auto& ip : pod.ips) {
        text += fmt::format("{}\t{}\n", ip.to_string(), pod.meta.name);
    }
    for (const auto& [name, service] : services) {
        const auto& [namespace_name, short_name] = name;
        const auto full = fmt::format("{0}.{1} {0}.{1}.svc {0}.{1}.svc.cluster.local", short_name, namespace_name);
        const auto own = namespace_name == pod.meta.namespace_name ? short_name + " " : "";
        const auto ready = headless.find(name);
        const auto& addresses = service->headless && ready != headless.end() ? ready->second : service->cluster_ips;
        for (const auto& ip : addresses) {
            text += fmt::format("{}\t{}{}\n", ip.to_string(), own, full);
        }
    }
    return text;
}

} // namespace weft::lab
