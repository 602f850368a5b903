// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Good manifests: defaults, forms and versions that Kubernetes accepts, and the bounds against hostile text.
#include "agent/k8s/parse.hpp"

#include <chrono>

#include <gtest/gtest.h>

namespace weft::k8s {
namespace {

template <typename T>
T only(const std::string& text) {
    const ParseOutcome outcome = parse_documents(text, "m.yaml");
    for (const auto& refusal : outcome.refusals) {
        ADD_FAILURE() << refusal.origin.line << " " << refusal.field << ": " << refusal.message;
    }
    if (outcome.objects.size() != 1 || !std::holds_alternative<T>(outcome.objects[0])) {
        ADD_FAILURE() << "one object of the kind is due, not " << outcome.objects.size();
        return {};
    }
    return std::get<T>(outcome.objects[0]);
}

std::string policy(const std::string& spec) {
    return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n" + spec;
}

TEST(Parse, ServiceWithDefaults) {
    const auto service = only<Service>(R"(
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  ports: [{port: 80}]
)");
    EXPECT_EQ(service.meta.namespace_name, "default");
    EXPECT_EQ(service.meta.origin.line, 2);
    EXPECT_EQ(service.ports.at(0).protocol, 6);
    EXPECT_EQ(service.ports.at(0).target_port, PortRef(std::uint16_t{80}));
    EXPECT_EQ(service.affinity_timeout_seconds, 10800);
    EXPECT_FALSE(service.headless);
}

TEST(Parse, ServiceWithEverything) {
    const auto service = only<Service>(R"(
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: LoadBalancer
  clusterIP: 10.96.0.1
  clusterIPs: [10.96.0.1, "fd00::1"]
  ipFamilies: [IPv4, IPv6]
  externalIPs: [192.0.2.1]
  selector: {app: web}
  sessionAffinity: ClientIP
  sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}
  internalTrafficPolicy: Local
  trafficDistribution: PreferClose
  publishNotReadyAddresses: true
  ports:
  - {name: http, port: 80, targetPort: http, nodePort: 30080}
  - {name: dns, port: 53, protocol: UDP}
status:
  loadBalancer:
    ingress:
    - {ip: 198.51.100.1, ipMode: VIP}
    - {ip: 198.51.100.2, ipMode: Proxy}
    - {hostname: x.example}
)");
    EXPECT_EQ(service.type, Service::Type::kLoadBalancer);
    EXPECT_EQ(service.cluster_ips.size(), 2U);
    EXPECT_TRUE(service.wants_v4 && service.wants_v6);
    EXPECT_EQ(service.ports.at(0).target_port, PortRef(std::string("http")));
    EXPECT_EQ(service.ports.at(0).node_port, 30080);
    EXPECT_EQ(service.ports.at(1).protocol, 17);
    EXPECT_EQ(service.affinity_timeout_seconds, 60);
    EXPECT_EQ(service.distribution, Service::Distribution::kPreferSameZone);
    ASSERT_EQ(service.load_balancer_ips.size(), 1U);
    EXPECT_EQ(service.load_balancer_ips[0].to_string(), "198.51.100.1");
}

TEST(Parse, PolicyTypesAreDefaultedFromTheRules) {
    const auto none = only<NetworkPolicy>(policy("  podSelector: {}\n"));
    EXPECT_TRUE(none.affects_ingress);
    EXPECT_FALSE(none.affects_egress);
    const auto egress = only<NetworkPolicy>(policy("  podSelector: {}\n  egress: [{}]\n"));
    EXPECT_TRUE(egress.affects_ingress);
    EXPECT_TRUE(egress.affects_egress);
    const auto empty = only<NetworkPolicy>(policy("  podSelector: {}\n  egress: []\n"));
    EXPECT_FALSE(empty.affects_egress);
    const auto given = only<NetworkPolicy>(policy("  podSelector: {}\n  policyTypes: [Egress]\n"));
    EXPECT_FALSE(given.affects_ingress);
    EXPECT_TRUE(given.affects_egress);
}

TEST(Parse, PolicyEmptyAndMissingListsMeanEverything) {
    const auto parsed = only<NetworkPolicy>(policy(R"(  podSelector: {matchLabels: {app: web}}
  ingress:
  - {}
  - from: []
    ports: []
  - from:
    - podSelector: {}
    - namespaceSelector: {}
    - podSelector: {matchLabels: {a: b}}
      namespaceSelector: {matchExpressions: [{key: k, operator: NotIn, values: [v]}]}
    - ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
    ports:
    - {}
    - {port: 80, endPort: 90}
    - {port: http, protocol: SCTP}
)"));
    ASSERT_EQ(parsed.ingress.size(), 3U);
    EXPECT_TRUE(parsed.ingress[0].peers.empty() && parsed.ingress[0].ports.empty());
    EXPECT_TRUE(parsed.ingress[1].peers.empty() && parsed.ingress[1].ports.empty());
    const auto& rule = parsed.ingress[2];
    ASSERT_EQ(rule.peers.size(), 4U);
    EXPECT_TRUE(rule.peers[0].pod_selector.has_value() && !rule.peers[0].namespace_selector.has_value());
    EXPECT_TRUE(rule.peers[0].pod_selector->matches({}));
    EXPECT_TRUE(!rule.peers[1].pod_selector.has_value() && rule.peers[1].namespace_selector.has_value());
    EXPECT_TRUE(rule.peers[2].namespace_selector->matches({{"k", "w"}}));
    EXPECT_FALSE(rule.peers[2].namespace_selector->matches({{"k", "v"}}));
    EXPECT_EQ(rule.peers[3].ip_block->except.at(0).to_string(), "10.1.0.0/16");
    ASSERT_EQ(rule.ports.size(), 3U);
    EXPECT_FALSE(rule.ports[0].port.has_value());
    EXPECT_EQ(rule.ports[1].end_port, 90);
    EXPECT_EQ(rule.ports[2].protocol, 132);
}

TEST(Parse, SelectorOperators) {
    const auto parsed = only<NetworkPolicy>(policy(R"(  podSelector:
    matchLabels: {app: web}
    matchExpressions:
    - {key: tier, operator: In, values: [a, b]}
    - {key: gone, operator: DoesNotExist}
    - {key: here, operator: Exists}
    - {key: env, operator: NotIn, values: [prod]}
)"));
    const Labels good{{"app", "web"}, {"tier", "b"}, {"here", ""}};
    EXPECT_TRUE(parsed.pod_selector.matches(good)) << "NotIn holds when the key is missing";
    for (const auto& [key, value] : Labels{{"app", "api"}, {"tier", "c"}, {"gone", ""}, {"env", "prod"}}) {
        Labels bad = good;
        bad[key] = value;
        EXPECT_FALSE(parsed.pod_selector.matches(bad)) << key;
    }
    Labels without = good;
    without.erase("here");
    EXPECT_FALSE(parsed.pod_selector.matches(without));
}

TEST(Parse, EndpointSliceConditionsAndBetaTopology) {
    const auto slice = only<EndpointSlice>(R"(
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints:
- addresses: [10.0.0.1]
- addresses: [10.0.0.2]
  conditions: {ready: false}
- addresses: [10.0.0.3]
  conditions: {ready: false, serving: true, terminating: true}
  nodeName: a
  zone: z
  hints: {forZones: [{name: z}], forNodes: [{name: a}]}
  targetRef: {kind: Pod, name: web-3}
ports: [{name: http, port: 8080}, {name: all}]
)");
    EXPECT_EQ(slice.service, "web");
    ASSERT_EQ(slice.endpoints.size(), 3U);
    EXPECT_TRUE(slice.endpoints[0].ready && slice.endpoints[0].serving && !slice.endpoints[0].terminating);
    EXPECT_TRUE(!slice.endpoints[1].ready && !slice.endpoints[1].serving);
    EXPECT_TRUE(!slice.endpoints[2].ready && slice.endpoints[2].serving && slice.endpoints[2].terminating);
    EXPECT_EQ(slice.endpoints[2].target_pod, "web-3");
    EXPECT_EQ(slice.endpoints[2].hint_nodes, std::vector<std::string>{"a"});
    EXPECT_EQ(slice.ports.at(1).port, 0);
    const auto beta = only<EndpointSlice>(R"(
apiVersion: discovery.k8s.io/v1beta1
kind: EndpointSlice
metadata: {name: web-1}
addressType: IPv6
endpoints:
- addresses: ["fd00::1"]
  topology: {kubernetes.io/hostname: a, topology.kubernetes.io/zone: z}
)");
    EXPECT_EQ(beta.endpoints.at(0).node_name, "a");
    EXPECT_EQ(beta.endpoints.at(0).zone, "z");
    EXPECT_FALSE(beta.v4);
}

TEST(Parse, PodNodeNamespaceAndDeployment) {
    const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata: {name: web-1, uid: u, deletionTimestamp: "2026-01-01T00:00:00Z", annotations: {weft.dev/x: "any text, even ,;"}}
spec:
  nodeName: a
  containers:
  - name: c
    command: [sh, -c]
    env: [{name: A, value: "1"}, {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}]
    ports: [{containerPort: 8080, name: http}]
    readinessProbe: {httpGet: {port: http, path: /ready}, periodSeconds: 1}
status:
  phase: Running
  podIP: 10.0.0.1
  podIPs: [{ip: 10.0.0.1}, {ip: "fd00::1"}]
  conditions: [{type: Initialized, status: "True"}, {type: Ready, status: "True"}]
)");
    EXPECT_TRUE(pod.meta.deleting && pod.ready);
    EXPECT_EQ(pod.ips.size(), 2U);
    EXPECT_EQ(pod.spec.service_account, "default");
    EXPECT_EQ(pod.spec.containers.at(0).env.size(), 2U);
    EXPECT_EQ(pod.spec.containers.at(0).env.at(1).second, "$(field:status.podIP)");
    EXPECT_EQ(pod.spec.containers.at(0).readiness->port, PortRef(std::string("http")));
    const auto space = only<Namespace>("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    EXPECT_EQ(space.meta.labels.at("kubernetes.io/metadata.name"), "shop");
    EXPECT_EQ(space.meta.namespace_name, "");
    const auto node = only<Node>(R"(
apiVersion: v1
kind: Node
metadata: {name: a, labels: {topology.kubernetes.io/zone: z1}}
spec: {podCIDR: 10.1.0.0/24, podCIDRs: [10.1.0.0/24], unschedulable: true}
status: {addresses: [{type: Hostname, address: a}, {type: InternalIP, address: 192.168.0.1}]}
)");
    EXPECT_EQ(node.zone(), "z1");
    EXPECT_EQ(node.addresses.size(), 1U);
    EXPECT_TRUE(node.unschedulable);
    const auto deployment = only<Deployment>(R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c}]}}
)");
    EXPECT_EQ(deployment.replicas, 0);
    EXPECT_EQ(deployment.template_meta.namespace_name, "shop");
}

TEST(Parse, DocumentsListsForeignKindsAndLines) {
    const auto outcome =
        parse_documents("# comment\n---\r\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n...\n"
                        "--- # next\napiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Namespace\n"
                        "  metadata: {name: b}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n"
                        "---\napiVersion: v1\nkind: NamespaceList\nitems: [{metadata: {name: d}}]\n"
                        "---\napiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nmetadata: {name: e}\n"
                        "---\n{\"apiVersion\": \"v1\", \"kind\": \"Namespace\",\n \"metadata\": {\"name\": \"f\"}}\n",
                        "m.yaml");
    EXPECT_TRUE(outcome.refusals.empty());
    std::map<std::string, int> lines;
    for (const Object& object : outcome.objects) {
        lines[meta_of(object).name] = meta_of(object).origin.line;
    }
    EXPECT_EQ(lines, (std::map<std::string, int>{{"a", 4}, {"b", 12}, {"d", 19}, {"f", 25}}));
    EXPECT_EQ(outcome.ignored,
              (std::map<std::string, std::size_t>{{"ConfigMap", 1}, {"NetworkPolicy.projectcalico.org", 1}}));
}

TEST(Parse, YamlAnchorsMergeKeysAndBlockScalars) {
    const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata:
  name: x
  labels: &labels {app: web, tier: a}
  annotations:
    <<: *labels
    tier: "b"
    text: |
      --- is not a document here
      port: 80
)");
    EXPECT_EQ(pod.meta.annotations.at("app"), "web");
    EXPECT_EQ(pod.meta.annotations.at("text"), "--- is not a document here\nport: 80\n");
}

TEST(Parse, JsonEscapesAndLines) {
    const auto pod = only<Pod>("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"x\","
                               "\"annotations\":{\"a\":\"\\u00e4\\ud83d\\ude00\\n\\\"\"}}}");
    EXPECT_EQ(pod.meta.annotations.at("a"), "\xc3\xa4\xf0\x9f\x98\x80\n\"");
    for (const char* bad : {"{\"a\":\"\\ud83d\"}", "{\"a\":\"\\u12\"}", "{\"a\":1,}", "{\"a\":1 \"b\":2}",
                            "{\"a\":tru}", "{\"a\":\"x", "{} {}", "{\"a\":"}) {
        EXPECT_FALSE(read_json({bad, 1}).faults.empty()) << bad;
    }
}

TEST(Parse, HostileTextIsRefusedQuickly) {
    const auto start = std::chrono::steady_clock::now();
    const auto refused = [](const std::string& text) {
        const auto outcome = parse_documents(text, "m.yaml");
        EXPECT_TRUE(outcome.objects.empty());
        EXPECT_FALSE(outcome.refusals.empty());
        EXPECT_TRUE(outcome.incomplete);
    };
    std::string bomb = "kind: Pod\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int level = 1; level < 12; ++level) {
        const std::string before = "*a" + std::to_string(level - 1);
        bomb += "a" + std::to_string(level) + ": &a" + std::to_string(level) + " [";
        for (int copy = 0; copy < 10; ++copy) {
            bomb += before + ", ";
        }
        bomb += "x]\n";
    }
    refused(bomb);
    refused(std::string(100'000, '['));
    refused("a: " + std::string(100'000, '['));
    refused(std::string(100'000, '{'));
    std::string nested;
    for (int level = 0; level < 1000; ++level) {
        nested += std::string(static_cast<std::size_t>(level), ' ') + "a:\n";
    }
    refused(nested);
    std::string dashes;
    for (int level = 0; level < 50'000; ++level) {
        dashes += "- ";
    }
    refused(dashes);
    refused(std::string(kMaxTextBytes + 1, '#'));
    std::string merge = "kind: Pod\nm: &m {";
    std::string keys;
    for (int key = 0; key < 60'000; ++key) {
        merge += "a" + std::to_string(key) + ": 1, ";
        keys += "b" + std::to_string(key) + ": 1, ";
    }
    refused(merge + "z: 1}\nn: {<<: *m, " + keys + "z: 1}\n");
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(Parse, NothingIsNoFault) {
    for (const char* text :
         {"", "\n", "# only a comment\n", "---\n", "---\n---\n", "--- \n# x\n...\n", "null\n", "\xef\xbb\xbf"}) {
        const auto outcome = parse_documents(text, "m.yaml");
        EXPECT_TRUE(outcome.objects.empty() && outcome.refusals.empty() && !outcome.incomplete) << text;
    }
}

} // namespace
} // namespace weft::k8s
