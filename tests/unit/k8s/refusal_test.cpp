// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Malformed manifests: each must be refused at the right line and field, with a remedy, and leave its neighbours alone.
#include <gtest/gtest.h>

#include "agent/k8s/parse.hpp"

namespace weft::k8s {
namespace {

struct Case {
    const char* name;
    const char* text; ///< line 1 is the first line after the raw string's opening newline
    int line;
    const char* field;
    const char* message; ///< a part of it
};

std::string service(const std::string& spec) {
    return "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n" + spec;
}
std::string policy(const std::string& spec) {
    return "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n  podSelector: {}\n" +
           spec;
}

class Refused : public testing::TestWithParam<Case> {};

TEST_P(Refused, WithLineFieldAndRemedy) {
    const Case& expected = GetParam();
    const std::string good = "apiVersion: v1\nkind: Namespace\nmetadata: {name: neighbour}\n";
    std::string text = expected.text;
    if (text.starts_with("SERVICE\n")) {
        text = service(text.substr(8));
    } else if (text.starts_with("POLICY\n")) {
        text = policy(text.substr(7));
    }
    const ParseOutcome outcome = parse_documents(text + "\n---\n" + good, "m.yaml");
    ASSERT_EQ(outcome.objects.size(), 1U) << "only the good neighbour";
    EXPECT_EQ(key_of(outcome.objects[0]).to_string(), "Namespace neighbour");
    ASSERT_EQ(outcome.refusals.size(), 1U);
    const store::Refusal& refusal = outcome.refusals[0];
    EXPECT_EQ(refusal.origin.file, "m.yaml");
    EXPECT_EQ(refusal.origin.line, expected.line) << refusal.message;
    EXPECT_EQ(refusal.field, expected.field);
    EXPECT_NE(refusal.message.find(expected.message), std::string::npos) << refusal.message;
}

// SERVICE and POLICY stand for the heads above: their text begins at line 6 and line 7.
const Case kCases[] = {
    // Documents
    {"NotAMap", "- a\n- b", 1, "", "a Kubernetes object is due"},
    {"NoKind", "apiVersion: v1\nmetadata: {name: x}", 1, "kind", "required"},
    {"Syntax", "apiVersion: v1\nkind: Service\nmetadata: [x\nspec: {}", 4, "", "cannot be read"},
    {"Tab", "apiVersion: v1\nkind: Service\nmetadata:\n\tname: x", 4, "", "cannot be read"},
    {"DuplicateKey", "apiVersion: v1\nkind: Service\nkind: Pod\nmetadata: {name: x}", 3, "", "'kind' appears twice"},
    {"UnknownAnchor", "apiVersion: v1\nkind: Pod\nmetadata: *x", 3, "", "cannot be read"},
    {"SelfAlias", "apiVersion: v1\nkind: Pod\nmetadata: &m {labels: *m}", 3, "", "contains it"},
    {"Json", "{\"apiVersion\": \"v1\",\n \"kind\": \"Pod\",\n \"metadata\": {\"name\": }", 3, "", "cannot be read"},
    // Versions and kinds
    {"OldPolicy", "apiVersion: networking.k8s.io/v1beta1\nkind: NetworkPolicy\nmetadata: {name: x}", 1, "apiVersion",
     "networking.k8s.io/v1"},
    {"CorePolicy", "apiVersion: v1\nkind: NetworkPolicy\nmetadata: {name: x}", 1, "apiVersion", "networking.k8s.io/v1"},
    {"OldDeployment", "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: x}", 1, "apiVersion",
     "apps/v1"},
    {"SliceV2", "apiVersion: discovery.k8s.io/v2\nkind: EndpointSlice\nmetadata: {name: x}", 1, "apiVersion",
     "v1beta1"},
    {"NoVersion", "kind: Service\nmetadata: {name: x}", 1, "apiVersion", "write v1"},
    {"KindCase", "apiVersion: networking.k8s.io/v1\nkind: Networkpolicy\nmetadata: {name: x}", 2, "kind",
     "write 'NetworkPolicy'"},
    {"NullSpec", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n", 4, "spec",
     "required"},
    // Metadata
    {"NoMetadata", "apiVersion: v1\nkind: Pod", 1, "metadata", "required"},
    {"NoName", "apiVersion: v1\nkind: Pod\nmetadata:\n  namespace: x", 4, "metadata.name", "required"},
    {"GenerateName", "apiVersion: v1\nkind: Pod\nmetadata:\n  generateName: x-", 4, "metadata.name", "generateName"},
    {"NumberName", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: 12", 4, "metadata.name", "in quotes"},
    {"BadName", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: Web_1", 4, "metadata.name", "no DNS name"},
    {"BadServiceName", "apiVersion: v1\nkind: Service\nmetadata: {name: 1web}\nspec: {ports: [{port: 1}]}", 3,
     "metadata.name", "no Service name"},
    {"BadNamespace", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  namespace: a.b", 5, "metadata.namespace",
     "no DNS label"},
    {"ClusterScoped", "apiVersion: v1\nkind: Node\nmetadata:\n  name: x\n  namespace: a", 5, "metadata.namespace",
     "no namespace"},
    {"LabelKey", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels:\n    -a: b", 6, "metadata.labels.-a",
     "not allowed"},
    {"LabelValue", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels:\n    app.x/a: a b", 6,
     "metadata.labels[app.x/a]", "no label value"},
    {"LabelNumber", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels:\n    v: 1.20", 6, "metadata.labels.v",
     "\"1.20\" in quotes"},
    {"LabelBoolean", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels:\n    v: yes", 6, "metadata.labels.v",
     "in quotes"},
    {"LabelsList", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels: [a]", 5, "metadata.labels",
     "a map is due"},
    // Pods and nodes
    {"PodIp", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus:\n  podIP: 10.0.0.256", 5, "status.podIP",
     "not an IPv4 or IPv6"},
    {"PodTwoV4",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus:\n  podIPs:\n  - ip: 10.0.0.1\n  - ip: 10.0.0.2", 7,
     "status.podIPs[1].ip", "each family"},
    {"Phase", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus: {phase: Up}", 4, "status.phase", "Running"},
    {"ReadyBoolean",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nstatus:\n  conditions:\n  - type: Ready\n    status: True", 7,
     "status.conditions[0].status", "in quotes"},
    {"ContainerPort",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: c\n    ports:\n    - "
     "containerPort: 65536",
     8, "spec.containers[0].ports[0].containerPort", "1 to 65535"},
    {"PortNameTwice",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: c\n    ports:\n    - "
     "{containerPort: 1, name: a}\n    - {containerPort: 2, name: a}",
     9, "spec.containers[0].ports[1].name", "twice"},
    {"PortNameDigits",
     "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: c\n    ports: [{containerPort: "
     "1, name: \"80\"}]",
     7, "spec.containers[0].ports[0].name", "no port name"},
    {"HostNetwork", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {hostNetwork: \"true\"}", 4,
     "spec.hostNetwork", "remove the quotes"},
    {"PodCidr", "apiVersion: v1\nkind: Node\nmetadata: {name: x}\nspec: {podCIDR: 10.0.0.0/33}", 4, "spec.podCIDR",
     "0 to 32"},
    {"NodeAddress",
     "apiVersion: v1\nkind: Node\nmetadata: {name: x}\nstatus:\n  addresses:\n  - {type: InternalIP, address: nowhere}",
     6, "status.addresses[0].address", "not an IPv4 or IPv6"},
    {"DeploymentSelector",
     "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  selector: {matchLabels: {a: b}}\n  "
     "template:\n    metadata:\n      labels: {a: c}",
     8, "spec.template.metadata.labels", "does not match"},
    {"DeploymentNoSelector", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  template: {}", 5,
     "spec.selector", "required"},
    // Services
    {"PortZero", "SERVICE\n  ports:\n  - port: 0", 7, "spec.ports[0].port", "1 to 65535"},
    {"PortHuge", "SERVICE\n  ports:\n  - port: 99999999999999999999", 7, "spec.ports[0].port", "out of range"},
    {"PortText", "SERVICE\n  ports:\n  - port: \"80\"", 7, "spec.ports[0].port", "remove the quotes"},
    {"PortFloat", "SERVICE\n  ports:\n  - port: 80.0", 7, "spec.ports[0].port", "whole number"},
    {"PortMissing", "SERVICE\n  ports:\n  - name: a", 7, "spec.ports[0].port", "required"},
    {"NoPorts", "SERVICE\n  selector: {a: b}", 6, "spec.ports", "at least one port"},
    {"PortsMap", "SERVICE\n  clusterIP: None\n  ports:\n    port: 80", 8, "spec.ports", "a list is due"},
    {"UnnamedPorts", "SERVICE\n  ports:\n  - {name: a, port: 1}\n  - {port: 2}", 8, "spec.ports[1].name",
     "needs a name"},
    {"NameTwice", "SERVICE\n  ports:\n  - {name: a, port: 1}\n  - {name: a, port: 2}", 8, "spec.ports[1].name",
     "twice"},
    {"NumberTwice", "SERVICE\n  ports:\n  - {name: a, port: 1}\n  - {name: b, port: 1}", 8, "spec.ports[1].port",
     "twice"},
    {"Protocol", "SERVICE\n  ports:\n  - port: 1\n    protocol: HTTP", 8, "spec.ports[0].protocol", "TCP, UDP, SCTP"},
    {"TargetPort", "SERVICE\n  ports:\n  - port: 1\n    targetPort: \"8080\"", 8, "spec.ports[0].targetPort",
     "remove the quotes"},
    {"TargetPortName", "SERVICE\n  ports:\n  - port: 1\n    targetPort: a_b", 8, "spec.ports[0].targetPort",
     "no port name"},
    {"Misspelt", "SERVICE\n  ports:\n  - port: 1\n    targetport: 2", 8, "spec.ports[0].targetport", "unknown field"},
    {"NodePort", "SERVICE\n  ports:\n  - port: 1\n    nodePort: 30000", 8, "spec.ports[0].nodePort", "type NodePort"},
    {"Type", "SERVICE\n  type: Internal\n  ports: [{port: 1}]", 6, "spec.type", "ClusterIP"},
    {"ClusterIp", "SERVICE\n  clusterIP: 10.96.0\n  ports: [{port: 1}]", 6, "spec.clusterIP", "not an IPv4 or IPv6"},
    {"ClusterIps", "SERVICE\n  clusterIPs: [10.0.0.1, 10.0.0.2]\n  ports: [{port: 1}]", 6, "spec.clusterIPs",
     "each family"},
    {"ClusterIpsDiffer", "SERVICE\n  clusterIP: 10.0.0.2\n  clusterIPs: [10.0.0.1]\n  ports: [{port: 1}]", 6,
     "spec.clusterIP", "differs"},
    {"HeadlessNodePort", "SERVICE\n  type: NodePort\n  clusterIP: None\n  ports: [{port: 1}]", 7, "spec.clusterIP",
     "type ClusterIP only"},
    {"ExternalIp", "SERVICE\n  externalIPs:\n  - 127.0.0.1\n  ports: [{port: 1}]", 7, "spec.externalIPs[0]",
     "loopback"},
    {"Affinity", "SERVICE\n  sessionAffinity: Cookie\n  ports: [{port: 1}]", 6, "spec.sessionAffinity", "ClientIP"},
    {"AffinityTimeout",
     "SERVICE\n  sessionAffinity: ClientIP\n  sessionAffinityConfig:\n    clientIP: {timeoutSeconds: 86401}\n  ports: "
     "[{port: 1}]",
     8, "spec.sessionAffinityConfig.clientIP.timeoutSeconds", "1 to 86400"},
    {"Distribution", "SERVICE\n  trafficDistribution: Near\n  ports: [{port: 1}]", 6, "spec.trafficDistribution",
     "PreferClose"},
    {"Internal", "SERVICE\n  internalTrafficPolicy: Node\n  ports: [{port: 1}]", 6, "spec.internalTrafficPolicy",
     "Cluster, Local"},
    {"Families", "SERVICE\n  clusterIP: 10.0.0.1\n  ipFamilies: [IPv6]\n  ports: [{port: 1}]", 7, "spec.ipFamilies",
     "10.0.0.1"},
    // EndpointSlices
    {"SliceType", "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\nendpoints: []", 1,
     "addressType", "required"},
    {"SliceFqdn", "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: FQDN", 4,
     "addressType", "not supported"},
    {"SliceFamily",
     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: IPv6\nendpoints:\n- "
     "addresses:\n  - 10.0.0.1",
     7, "endpoints[0].addresses[0]", "addressType"},
    {"SliceEmpty",
     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: IPv4\nendpoints:\n- "
     "conditions: {ready: true}",
     6, "endpoints[0].addresses", "1 to 100"},
    {"SliceLoopback",
     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: IPv4\nendpoints:\n- "
     "addresses: [127.0.0.1]",
     6, "endpoints[0].addresses[0]", "loopback"},
    {"SliceReady",
     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: IPv4\nendpoints:\n- "
     "addresses: [10.0.0.1]\n  conditions:\n    ready: maybe",
     8, "endpoints[0].conditions.ready", "true or false"},
    {"SlicePortTwice",
     "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: x}\naddressType: IPv4\nports:\n- {name: "
     "a, port: 1}\n- {name: a, port: 2}",
     7, "ports[1].name", "twice"},
    // NetworkPolicies
    {"PolicyTypes", "POLICY\n  policyTypes:\n  - Foo", 8, "spec.policyTypes[0]", "Ingress, Egress"},
    {"PolicyTypesText", "POLICY\n  policyTypes: Ingress", 7, "spec.policyTypes", "a list is due"},
    {"PolicyMisspelt", "POLICY\n  ingres: []", 7, "spec.ingres", "unknown field"},
    {"PolicyFromInEgress", "POLICY\n  egress:\n  - from: []", 8, "spec.egress[0].from", "unknown field"},
    {"EmptyPeer", "POLICY\n  ingress:\n  - from:\n    - {}", 9, "spec.ingress[0].from[0]", "empty peer"},
    {"MixedPeer", "POLICY\n  ingress:\n  - from:\n    - ipBlock: {cidr: 10.0.0.0/8}\n      podSelector: {}", 9,
     "spec.ingress[0].from[0].ipBlock", "excludes podSelector"},
    {"Cidr", "POLICY\n  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.1", 10,
     "spec.ingress[0].from[0].ipBlock.cidr", "10.0.0.0/8"},
    {"NoCidr", "POLICY\n  ingress:\n  - from:\n    - ipBlock: {}", 9, "spec.ingress[0].from[0].ipBlock.cidr",
     "required"},
    {"ExceptOutside",
     "POLICY\n  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except:\n        - 11.0.0.0/16",
     12, "spec.ingress[0].from[0].ipBlock.except[0]", "smaller block"},
    {"ExceptWhole",
     "POLICY\n  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except: [10.0.0.0/8]", 11,
     "spec.ingress[0].from[0].ipBlock.except[0]", "smaller block"},
    {"PolicyProtocol", "POLICY\n  ingress:\n  - ports:\n    - protocol: tcp", 9, "spec.ingress[0].ports[0].protocol",
     "TCP, UDP, SCTP"},
    {"PolicyPort", "POLICY\n  ingress:\n  - ports:\n    - port: 65536", 9, "spec.ingress[0].ports[0].port",
     "1 to 65535"},
    {"PolicyPortName", "POLICY\n  ingress:\n  - ports:\n    - port: HTTP", 9, "spec.ingress[0].ports[0].port",
     "no port name"},
    {"PolicyPortMisspelt", "POLICY\n  ingress:\n  - ports:\n    - prot: 80", 9, "spec.ingress[0].ports[0].prot",
     "unknown field"},
    {"EndPortBelow", "POLICY\n  ingress:\n  - ports:\n    - {port: 80, endPort: 79}", 9,
     "spec.ingress[0].ports[0].endPort", "below port 80"},
    {"EndPortNamed", "POLICY\n  ingress:\n  - ports:\n    - {port: http, endPort: 90}", 9,
     "spec.ingress[0].ports[0].endPort", "as a number"},
    {"EndPortAlone", "POLICY\n  ingress:\n  - ports:\n    - {endPort: 90}", 9, "spec.ingress[0].ports[0].endPort",
     "needs port"},
    {"Operator",
     "POLICY\n  ingress:\n  - from:\n    - podSelector:\n        matchExpressions:\n        - {key: a, operator: "
     "Bogus}",
     11, "spec.ingress[0].from[0].podSelector.matchExpressions[0].operator", "NotIn"},
    {"InWithout",
     "POLICY\n  ingress:\n  - from:\n    - podSelector:\n        matchExpressions:\n        - {key: a, operator: In, "
     "values: []}",
     11, "spec.ingress[0].from[0].podSelector.matchExpressions[0].values", "at least one"},
    {"ExistsWith",
     "POLICY\n  ingress:\n  - from:\n    - podSelector:\n        matchExpressions:\n        - {key: a, operator: "
     "Exists, values: [b]}",
     11, "spec.ingress[0].from[0].podSelector.matchExpressions[0].values", "takes no values"},
    {"SelectorMisspelt", "POLICY\n  ingress:\n  - from:\n    - podSelector: {app: web}", 9,
     "spec.ingress[0].from[0].podSelector.app", "unknown field"},
    {"NullRule", "POLICY\n  ingress:\n  - null", 8, "spec.ingress[0]", "empty item"},
    {"NoSpec", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}", 1, "spec", "required"},
};

INSTANTIATE_TEST_SUITE_P(Manifests, Refused, testing::ValuesIn(kCases),
                         [](const auto& instance) { return std::string(instance.param.name); });

TEST(Refusals, EveryFaultOfAnObjectIsListed) {
    const auto outcome = parse_documents(service("  type: Foo\n  ports:\n  - port: 0\n  - port: 1\n"), "m.yaml");
    EXPECT_TRUE(outcome.objects.empty());
    EXPECT_EQ(outcome.refusals.size(), 4U) << "type, two names, one port";
    for (const auto& refusal : outcome.refusals) {
        EXPECT_EQ(refusal.key.to_string(), "Service default/web");
    }
    EXPECT_FALSE(outcome.incomplete);
}

TEST(Refusals, BrokenDocumentStillNamesItsObject) {
    const auto outcome = parse_documents("kind: Service\nmetadata:\n  name: web\n  namespace: shop\nspec: [", "m.yaml");
    ASSERT_EQ(outcome.refusals.size(), 1U);
    EXPECT_EQ(outcome.refusals[0].key.to_string(), "Service shop/web");
    EXPECT_TRUE(outcome.incomplete);
}

TEST(Refusals, AreBoundedForOneFile) {
    std::string text;
    for (std::size_t document = 0; document < kMaxRefusals + 500; ++document) {
        text += "--- no object\n";
    }
    const auto outcome = parse_documents(text, "m.yaml");
    ASSERT_EQ(outcome.refusals.size(), kMaxRefusals + 1);
    EXPECT_NE(outcome.refusals.back().message.find("500 further"), std::string::npos)
        << outcome.refusals.back().message;
    EXPECT_TRUE(outcome.incomplete);
}

TEST(Refusals, TheSameObjectTwiceInOneFile) {
    const std::string one = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
    const auto outcome = parse_documents(one + one, "m.yaml");
    EXPECT_EQ(outcome.objects.size(), 1U);
    ASSERT_EQ(outcome.refusals.size(), 1U);
    EXPECT_EQ(outcome.refusals[0].origin.line, 6);
    EXPECT_NE(outcome.refusals[0].message.find("line 2"), std::string::npos) << outcome.refusals[0].message;
}

} // namespace
} // namespace weft::k8s
