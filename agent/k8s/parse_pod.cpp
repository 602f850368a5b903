// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Pod, Deployment and what they share. A pod without containers is accepted, unlike by the API server: manifests that
// only describe who may talk to whom need none.
#include <set>

#include <fmt/format.h>

#include "agent/k8s/kinds.hpp"

namespace weft::k8s {
namespace {

ContainerPort parse_container_port(const Field& item, std::set<std::string>& names) {
    ContainerPort port;
    if (!item.required_map()) {
        return port;
    }
    const Field number = item.at("containerPort");
    if (number.missing()) {
        number.fault("required: give the port's number");
    }
    port.port = number.port().value_or(0);
    port.protocol = item.at("protocol").protocol();
    const Field name = item.at("name");
    port.name = name.string();
    if (!port.name.empty()) {
        name.check(port_name_fault(port.name));
        if (!names.insert(port.name).second) {
            name.fault(fmt::format("port name '{}' is used twice in this container", port.name));
        }
    }
    return port;
}

std::optional<Probe> parse_probe(const Field& field) {
    if (!field.map()) {
        return {};
    }
    Probe probe;
    const Field tcp = field.at("tcpSocket");
    const Field http = field.at("httpGet");
    const Field exec = field.at("exec");
    const Field grpc = field.at("grpc");
    const int handlers = int{tcp.map()} + int{http.map()} + int{exec.map()} + int{grpc.map()};
    if (handlers != 1) {
        field.fault("give exactly one of tcpSocket, httpGet, exec and grpc");
        return {};
    }
    const auto read_port = [&](const Field& port) {
        if (port.missing()) {
            port.fault("required: give a port number or name");
        }
        probe.port = port.port_or_name().value_or(std::uint16_t{0});
    };
    if (tcp.map()) {
        read_port(tcp.at("port"));
    } else if (http.map()) {
        probe.kind = Probe::Kind::kHttp;
        read_port(http.at("port"));
        probe.path = http.at("path").string("/");
    } else if (exec.map()) {
        probe.kind = Probe::Kind::kExec;
        probe.command = exec.at("command").strings();
    } else {
        read_port(grpc.at("port")); // whether the port answers at all is what the lab can ask
    }
    const auto seconds = [&](std::string_view name, std::int64_t least, int fallback) {
        return static_cast<int>(field.at(name).integer(least, INT32_MAX).value_or(fallback));
    };
    probe.initial_delay_seconds = seconds("initialDelaySeconds", 0, 0);
    probe.period_seconds = seconds("periodSeconds", 1, 10);
    probe.timeout_seconds = seconds("timeoutSeconds", 1, 1);
    probe.failure_threshold = seconds("failureThreshold", 1, 3);
    return probe;
}

Container parse_container(const Field& item, std::set<std::string>& container_names) {
    Container container;
    if (!item.required_map()) {
        return container;
    }
    const Field name = item.at("name");
    container.name = name.required_string();
    if (!container.name.empty()) {
        name.check(dns_label_fault(container.name));
        if (!container_names.insert(container.name).second) {
            name.fault(fmt::format("container name '{}' is used twice in this pod", container.name));
        }
    }
    container.image = item.at("image").string();
    container.command = item.at("command").strings();
    container.args = item.at("args").strings();
    const Field env = item.at("env");
    env.items([&](const Field& variable) {
        if (!variable.required_map()) {
            return;
        }
        std::string key = variable.at("name").required_string();
        const Field from = variable.at("valueFrom");
        if (!from.map()) {
            container.env.emplace_back(std::move(key), variable.at("value").string());
            return;
        }
        const Field reference = from.at("fieldRef");
        if (reference.map()) { // Secrets and ConfigMaps are not read, so such a variable stays unset
            container.env.emplace_back(std::move(key),
                                       fmt::format("$(field:{})", reference.at("fieldPath").required_string()));
        }
    });
    std::set<std::string> port_names;
    const Field ports = item.at("ports");
    ports.items([&](const Field& port) { container.ports.push_back(parse_container_port(port, port_names)); });
    container.readiness = parse_probe(item.at("readinessProbe"));
    return container;
}

} // namespace

PodSpec parse_pod_spec(const Field& spec) {
    PodSpec parsed;
    if (!spec.map()) {
        return parsed;
    }
    const auto name_of = [&](std::string_view member) {
        const Field field = spec.at(member);
        std::string text = field.string();
        if (!text.empty()) {
            field.check(dns_subdomain_fault(text));
        }
        return text;
    };
    parsed.node_name = name_of("nodeName");
    parsed.service_account = name_of("serviceAccountName");
    if (parsed.service_account.empty()) {
        parsed.service_account = name_of("serviceAccount"); // its deprecated name
    }
    if (parsed.service_account.empty()) {
        parsed.service_account = "default";
    }
    parsed.host_network = spec.at("hostNetwork").boolean(false);
    parsed.termination_grace_seconds =
        static_cast<int>(spec.at("terminationGracePeriodSeconds").integer(0, INT32_MAX).value_or(30));
    parsed.hostname = name_of("hostname");
    parsed.subdomain = name_of("subdomain");
    std::set<std::string> names;
    const Field containers = spec.at("containers");
    containers.items([&](const Field& item) { parsed.containers.push_back(parse_container(item, names)); });
    return parsed;
}

Pod parse_pod(const Field& root, Meta meta) {
    Pod pod;
    pod.meta = std::move(meta);
    pod.spec = parse_pod_spec(root.at("spec"));
    const Field status = root.at("status");
    if (!status.map()) {
        return pod;
    }
    pod.phase = status.at("phase").one_of({"Pending", "Running", "Succeeded", "Failed", "Unknown"}, "");
    const Field ips = status.at("podIPs");
    ips.items([&](const Field& item) {
        if (!item.required_map()) {
            return;
        }
        const Field address = item.at("ip");
        const auto ip = address.ip();
        if (!ip) {
            return;
        }
        for (const Ip& other : pod.ips) {
            if (other.is_v4() == ip->is_v4()) {
                address.fault("a pod has at most one address of each family");
            }
        }
        pod.ips.push_back(*ip);
    });
    const Field single = status.at("podIP");
    if (!single.missing() && !(single.value()->kind == Value::Kind::kScalar && single.value()->text.empty())) {
        const auto ip = single.ip();
        if (ip && pod.ips.empty()) {
            pod.ips.push_back(*ip);
        } else if (ip && pod.ips.front() != *ip) {
            single.fault("differs from status.podIPs[0].ip: make them equal or remove one");
        }
    }
    const Field conditions = status.at("conditions");
    conditions.items([&](const Field& condition) {
        if (!condition.required_map() || condition.at("type").required_string() != "Ready") {
            return;
        }
        const Field value = condition.at("status");
        if (value.missing()) {
            value.fault("required: use \"True\", \"False\" or \"Unknown\" in quotes");
        }
        pod.ready = value.one_of({"True", "False", "Unknown"}, "Unknown") == "True";
    });
    return pod;
}

Deployment parse_deployment(const Field& root, Meta meta) {
    Deployment deployment;
    deployment.meta = std::move(meta);
    const Field spec = root.at("spec");
    if (!spec.required_map()) {
        return deployment;
    }
    deployment.replicas = static_cast<int>(spec.at("replicas").integer(0, 100'000).value_or(1));
    const Field selector = spec.at("selector");
    const Field pod_template = spec.at("template");
    if (!selector.required_map() || !pod_template.required_map()) {
        return deployment;
    }
    deployment.selector = parse_selector(selector);
    const Field template_metadata = pod_template.at("metadata");
    deployment.template_meta = parse_meta(template_metadata);
    deployment.template_meta.namespace_name = deployment.meta.namespace_name;
    deployment.template_meta.name.clear();
    deployment.template_meta.uid.clear();
    deployment.template_spec = parse_pod_spec(pod_template.at("spec"));
    if (deployment.selector == LabelSelector{}) {
        selector.fault("an empty selector is not allowed here: name the template's labels");
    } else if (!deployment.selector.matches(deployment.template_meta.labels)) {
        template_metadata.at("labels").fault("spec.selector does not match the template's labels: make them agree");
    }
    return deployment;
}

} // namespace weft::k8s
