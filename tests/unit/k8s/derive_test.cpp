// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The control plane's part: pods of Deployments, placement, EndpointSlices; and that emitted objects parse to equals.
#include "agent/k8s/derive.hpp"

#include <gtest/gtest.h>

#include "agent/k8s/emit.hpp"
#include "agent/k8s/parse.hpp"

namespace weft::k8s {
namespace {

template <typename T>
std::vector<T> all(const std::string& text) {
    std::vector<T> objects;
    auto outcome = parse_documents(text, "m.yaml");
    for (const auto& refusal : outcome.refusals) {
        ADD_FAILURE() << refusal.origin.line << " " << refusal.field << ": " << refusal.message;
    }
    for (Object& object : outcome.objects) {
        if (auto* wanted = std::get_if<T>(&object)) {
            objects.push_back(std::move(*wanted));
        }
    }
    return objects;
}

std::string node(const std::string& name, const std::string& spec = "{}") {
    return "---\napiVersion: v1\nkind: Node\nmetadata: {name: " + name +
           ", labels: {topology.kubernetes.io/zone: zone-" + name + "}}\nspec: " + spec + "\n";
}

std::string pod(const std::string& name, const std::string& ips, const std::string& ready = "True",
                const std::string& phase = "Running", const std::string& http = "8080", const std::string& extra = "") {
    return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + ", labels: {app: web}" + extra +
           "}\nspec: {nodeName: a, containers: [{name: c, ports: [{name: " + (http.empty() ? "other" : "http") +
           ", containerPort: " + (http.empty() ? "1" : http) + "}]}]}\nstatus: {phase: " + phase + ", podIPs: [" + ips +
           "], conditions: [{type: Ready, status: \"" + ready + "\"}]}\n";
}

Service service(const std::string& spec) {
    return all<Service>("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, " + spec +
                        "}\n")
        .at(0);
}

TEST(Derive, DeploymentBecomesNumberedPods) {
    const auto deployment =
        all<Deployment>("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n"
                        "spec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {metadata: "
                        "{labels: {app: web}}, spec: {containers: [{name: c}]}}}\n")
            .at(0);
    const auto pods = expand_deployment(deployment);
    ASSERT_EQ(pods.size(), 3U);
    EXPECT_EQ(pods[0].meta.name, "web-0");
    EXPECT_EQ(pods[2].meta.name, "web-2");
    EXPECT_EQ(pods[1].meta.namespace_name, "shop");
    EXPECT_EQ(pods[1].meta.labels.at("app"), "web");
}

TEST(Derive, SchedulingSpreadsAndRespectsNodes) {
    const auto nodes = all<Node>(node("b") + node("a") + node("c", "{unschedulable: true}"));
    std::vector<Pod> pods(5);
    pods[0].spec.node_name = "a";
    pods[1].spec.node_name = "c";
    pods[4].phase = "Failed";
    schedule(pods, nodes);
    EXPECT_EQ(pods[0].spec.node_name, "a");
    EXPECT_EQ(pods[1].spec.node_name, "c") << "a given node is kept, even a cordoned one";
    EXPECT_EQ(pods[2].spec.node_name, "b") << "the emptier one";
    EXPECT_EQ(pods[3].spec.node_name, "a") << "the first by name on a tie";
    std::vector<Pod> lonely(1);
    schedule(lonely, {});
    EXPECT_EQ(lonely[0].spec.node_name, "");
}

TEST(Derive, SliceShowsConditionsNodeZoneAndPod) {
    const auto pods = all<Pod>(pod("web-2", "{ip: 10.0.0.2}", "False") + pod("web-1", "{ip: 10.0.0.1}") +
                               pod("web-3", "{ip: 10.0.0.3}", "True", "Running", "8080", ", deletionTimestamp: now") +
                               pod("web-4", "{ip: 10.0.0.4}", "True", "Succeeded") + pod("web-5", "") +
                               pod("web-6", "{ip: 10.0.0.6}", "True", "Running", "8080", ", namespace: elsewhere"));
    const auto slices = derive_slices(service("ports: [{port: 80, targetPort: http}]"), pods, all<Node>(node("a")));
    ASSERT_EQ(slices.size(), 1U);
    const EndpointSlice& slice = slices[0];
    EXPECT_EQ(slice.service, "web");
    EXPECT_EQ(slice.meta.labels.at("kubernetes.io/service-name"), "web");
    ASSERT_EQ(slice.endpoints.size(), 3U) << "finished pods, pods without address and other namespaces never";
    EXPECT_EQ(slice.endpoints[0].target_pod, "web-1");
    EXPECT_EQ(slice.endpoints[0].node_name, "a");
    EXPECT_EQ(slice.endpoints[0].zone, "zone-a");
    EXPECT_TRUE(slice.endpoints[0].ready && slice.endpoints[0].serving && !slice.endpoints[0].terminating);
    EXPECT_TRUE(!slice.endpoints[1].ready && !slice.endpoints[1].serving && !slice.endpoints[1].terminating);
    EXPECT_TRUE(!slice.endpoints[2].ready && slice.endpoints[2].serving && slice.endpoints[2].terminating);
    EXPECT_EQ(slice.ports.at(0).port, 8080);
}

TEST(Derive, PublishNotReadyMakesEverythingReady) {
    const auto pods = all<Pod>(pod("web-1", "{ip: 10.0.0.1}", "False"));
    const auto slices = derive_slices(service("publishNotReadyAddresses: true, ports: [{port: 80}]"), pods, {});
    ASSERT_EQ(slices.size(), 1U);
    EXPECT_TRUE(slices[0].endpoints.at(0).ready);
    EXPECT_FALSE(slices[0].endpoints.at(0).serving);
}

TEST(Derive, NamedPortsGroupPods) {
    const auto pods = all<Pod>(pod("web-1", "{ip: 10.0.0.1}", "True", "Running", "8080") +
                               pod("web-2", "{ip: 10.0.0.2}", "True", "Running", "9090") +
                               pod("web-3", "{ip: 10.0.0.3}", "True", "Running", ""));
    const auto slices = derive_slices(
        service("ports: [{name: http, port: 80, targetPort: http}, {name: raw, port: 81, targetPort: 7}]"), pods, {});
    ASSERT_EQ(slices.size(), 3U);
    std::map<std::string, std::map<std::string, int>> ports_by_pod;
    for (const auto& slice : slices) {
        for (const auto& port : slice.ports) {
            ports_by_pod[slice.endpoints.at(0).target_pod][port.name] = port.port;
        }
    }
    using Ports = std::map<std::string, int>;
    EXPECT_EQ(ports_by_pod["web-1"], (Ports{{"http", 8080}, {"raw", 7}}));
    EXPECT_EQ(ports_by_pod["web-2"], (Ports{{"http", 9090}, {"raw", 7}}));
    EXPECT_EQ(ports_by_pod["web-3"], (Ports{{"raw", 7}})) << "left out of the port that it lacks";
}

TEST(Derive, FamiliesFollowTheService) {
    const auto pods = all<Pod>(pod("web-1", "{ip: 10.0.0.1}, {ip: \"fd00::1\"}"));
    const auto families = [&](const std::string& spec) {
        std::string found;
        for (const auto& slice : derive_slices(service(spec + ", ports: [{port: 80}]"), pods, {})) {
            found += slice.v4 ? "4" : "6";
        }
        return found;
    };
    EXPECT_EQ(families("clusterIP: 10.96.0.1"), "4");
    EXPECT_EQ(families("clusterIP: \"fd01::1\""), "6");
    EXPECT_EQ(families("clusterIPs: [10.96.0.1, \"fd01::1\"]"), "46");
    EXPECT_EQ(families("clusterIP: None"), "46");
    EXPECT_EQ(families("clusterIP: None, ipFamilies: [IPv6]"), "6");
}

TEST(Derive, ManyEndpointsAreSplit) {
    std::vector<Pod> pods(2500);
    for (std::size_t index = 0; index < pods.size(); ++index) {
        pods[index].meta.namespace_name = "default";
        pods[index].meta.name = "web-" + std::to_string(index);
        pods[index].meta.labels["app"] = "web";
        pods[index].ips.push_back(
            *Ip::parse("10.0." + std::to_string(index / 250) + "." + std::to_string(index % 250 + 1)));
    }
    const auto slices = derive_slices(service("ports: [{port: 80}]"), pods, {});
    ASSERT_EQ(slices.size(), 3U);
    EXPECT_EQ(slices[0].endpoints.size(), 1000U);
    EXPECT_EQ(slices[2].endpoints.size(), 500U);
    EXPECT_NE(slices[0].meta.name, slices[1].meta.name);
}

TEST(Derive, NoSelectorNoSlices) {
    const auto pods = all<Pod>(pod("web-1", "{ip: 10.0.0.1}"));
    Service without = service("ports: [{port: 80}]");
    without.selector.clear();
    EXPECT_TRUE(derive_slices(without, pods, {}).empty());
    EXPECT_TRUE(derive_slices(service("type: ExternalName, externalName: x.example"), pods, {}).empty());
}

TEST(Emit, ParsesBackToAnEqualObject) {
    const std::string text = node("a", "{podCIDRs: [10.0.0.0/24, \"fd00::/64\"], unschedulable: true}") +
                             pod("web-1", "{ip: 10.0.0.1}, {ip: \"fd00::1\"}", "True", "Running", "8080",
                                 ", uid: u1, deletionTimestamp: now, annotations: {a: \"quote \\\" and \\n line\"}") +
                             pod("web-2", "{ip: 10.0.0.2}", "False", "Pending") + R"(
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {"on": "yes", number: "12"}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: full}
spec:
  hostNetwork: true
  hostname: h
  subdomain: s
  serviceAccountName: robot
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: i
    command: [a]
    args: [b, "80"]
    env: [{name: A, value: "true"}, {name: B, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
    readinessProbe: {exec: {command: [x]}, failureThreshold: 9}
  - name: d
    readinessProbe: {tcpSocket: {port: 80}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec: {replicas: 2, selector: {matchExpressions: [{key: app, operator: In, values: [web]}]}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, readinessProbe: {httpGet: {port: http}}}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, clusterIPs: [10.96.0.1, "fd01::1"], ipFamilies: [IPv4, IPv6], externalIPs: [192.0.2.1], selector: {app: web}, sessionAffinity: ClientIP, internalTrafficPolicy: Local, trafficDistribution: PreferSameNode, publishNotReadyAddresses: true, ports: [{name: a, port: 80, targetPort: http, nodePort: 30000}, {name: b, port: 53, protocol: UDP}]}
status: {loadBalancer: {ingress: [{ip: 198.51.100.1}]}}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}}
---
apiVersion: v1
kind: Service
metadata: {name: outside}
spec: {type: ExternalName, externalName: x.example}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv6
endpoints:
- {addresses: ["fd00::1"], conditions: {ready: false, serving: true, terminating: true}, nodeName: a, zone: z, hints: {forZones: [{name: z}], forNodes: [{name: a}]}, targetRef: {kind: Pod, name: web-1}}
ports: [{name: "", port: 80}, {name: all, protocol: SCTP}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress, Egress]
  ingress: [{}, {from: [{podSelector: {}}, {namespaceSelector: {matchExpressions: [{key: a, operator: Exists}]}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}], ports: [{port: 80, endPort: 90}, {port: http, protocol: UDP}, {}]}]
  egress: []
)";
    const auto outcome = parse_documents(text, "m.yaml");
    for (const auto& refusal : outcome.refusals) {
        ADD_FAILURE() << refusal.origin.line << " " << refusal.field << ": " << refusal.message;
    }
    EXPECT_EQ(outcome.objects.size(), 12U);
    std::string emitted;
    for (const Object& object : outcome.objects) {
        emitted += to_yaml(object);
    }
    const auto again = parse_documents(emitted, "e.yaml");
    for (const auto& refusal : again.refusals) {
        ADD_FAILURE() << refusal.origin.line << " " << refusal.field << ": " << refusal.message << "\n" << emitted;
    }
    ASSERT_EQ(again.objects.size(), outcome.objects.size());
    for (std::size_t index = 0; index < outcome.objects.size(); ++index) {
        EXPECT_TRUE(again.objects[index] == outcome.objects[index]) << to_yaml(outcome.objects[index]);
    }
}

} // namespace
} // namespace weft::k8s
