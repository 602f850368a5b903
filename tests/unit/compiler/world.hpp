// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Manifests in, compiled state out: what the tests of the compiler ask, in the words of Kubernetes.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "agent/compiler/compiler.hpp"
#include "agent/k8s/parse.hpp"
#include "agent/store/store.hpp"

namespace weft::compiler {

/// A store, a compiler and the node that is compiled for ("a" unless said otherwise).
class World {
public:
    explicit World(const std::string& node = "a") { node_.node_name = node; }

    /// Replaces a file's content; a refusal by the parser fails the test.
    void put(const std::string& file, const std::string& yaml) {
        auto outcome = k8s::parse_documents(yaml, file);
        for (const auto& refusal : outcome.refusals) {
            ADD_FAILURE() << refusal.key.to_string() << " " << refusal.field << ": " << refusal.message;
        }
        store_.replace_file(file, std::move(outcome));
    }
    void enrol(const std::string& pod, std::uint64_t cookie, const std::vector<std::string>& ips) {
        store::LocalEndpoint endpoint;
        endpoint.namespace_name = "shop";
        endpoint.pod_name = pod;
        endpoint.container_id = pod;
        endpoint.netns_cookie = cookie;
        for (const auto& ip : ips) {
            endpoint.ips.push_back(*Ip::parse(ip));
        }
        store_.set_endpoint(std::move(endpoint));
    }
    DesiredState compile() { return compiler_.compile(*store_.snapshot(), node_); }
    NodeContext& node() { return node_; }
    [[nodiscard]] store::Snapshot snapshot() { return *store_.snapshot(); }

private:
    store::Store store_;
    Compiler compiler_;
    NodeContext node_;
};

/// "TCP 10.0.0.1:80" of every backend in use, sorted; {} when there is none. Fails the test unless the frontend is
/// there exactly once.
inline std::vector<std::string> behind(const DesiredState& state, const std::string& frontend) {
    std::vector<std::string> backends;
    int found = 0;
    for (const auto& [id, fragment] : state.services) {
        for (const auto& [address, value] : fragment->frontends) {
            if (to_string(address) != frontend) {
                continue;
            }
            ++found;
            EXPECT_EQ(value.slot_count, fragment->slots.size());
            EXPECT_EQ(value.set, fragment->set_id);
            for (const auto& slot : fragment->slots) {
                backends.push_back(to_string(slot.backend));
            }
        }
    }
    EXPECT_EQ(found, 1) << "frontends " << frontend;
    std::ranges::sort(backends);
    backends.erase(std::unique(backends.begin(), backends.end()), backends.end());
    return backends;
}

/// Every frontend, sorted.
inline std::vector<std::string> frontends(const DesiredState& state) {
    std::vector<std::string> all;
    for (const auto& [id, fragment] : state.services) {
        for (const auto& [address, value] : fragment->frontends) {
            all.push_back(to_string(address));
        }
    }
    std::ranges::sort(all);
    return all;
}

/// "Service shop/web FIELD: MESSAGE" of every refusal.
inline std::vector<std::string> refusals(const DesiredState& state) {
    std::vector<std::string> all;
    for (const auto& refusal : state.refusals) {
        all.push_back(fmt::format("{} {}: {}", refusal.key.to_string(), refusal.field, refusal.message));
    }
    return all;
}

/// A Service shop/NAME with one port 80 -> 8080; `spec` is YAML of further spec fields, each line indented by two.
inline std::string service(const std::string& spec = "", const std::string& name = "web",
                           const std::string& cluster_ip = "10.96.0.1", const std::string& annotations = "{}") {
    return fmt::format("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {}, namespace: shop, annotations: {}}}\n"
                       "spec:\n  clusterIP: {}\n  ports: [{{port: 80, targetPort: 8080}}]\n{}",
                       name, annotations, cluster_ip, spec);
}

/// An EndpointSlice of shop/web with port 8080; each endpoint is one line of YAML flow, like
/// "{addresses: [10.0.0.1], nodeName: a}".
inline std::string slice(const std::vector<std::string>& endpoints, const std::string& name = "web-1",
                         const std::string& type = "IPv4", const std::string& annotations = "{}",
                         const std::string& of = "web") {
    return fmt::format("---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
                       "metadata: {{name: {}, namespace: shop, labels: {{kubernetes.io/service-name: {}}}, "
                       "annotations: {}}}\n"
                       "addressType: {}\nports: [{{port: 8080}}]\nendpoints:\n  - {}\n",
                       name, of, annotations, type, fmt::join(endpoints, "\n  - "));
}

/// A Node with a zone and an address.
inline std::string node(const std::string& name, const std::string& zone, const std::string& ip) {
    return fmt::format("---\napiVersion: v1\nkind: Node\nmetadata: {{name: {}, labels: {{topology.kubernetes.io/zone: "
                       "{}}}}}\nstatus: {{addresses: [{{type: InternalIP, address: \"{}\"}}]}}\n",
                       name, zone, ip);
}

} // namespace weft::compiler
