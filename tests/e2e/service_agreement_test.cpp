// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Do real connections and `weft simulate` agree about Services? Every kind of sender dials every kind of target.
#include <sstream>

#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"

namespace weft::e2e {
namespace {

constexpr const char* kCluster = R"(
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: node-1, terminationGracePeriodSeconds: 1, containers: [{name: c, command: [/usr/bin/sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: node-2, terminationGracePeriodSeconds: 1, containers: [{name: c, command: [/usr/bin/sleep, infinity], ports: [{name: http, containerPort: 8080}, {name: dns, containerPort: 5353, protocol: UDP}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: guarded, namespace: shop, labels: {app: guarded}}
spec: {nodeName: node-2, terminationGracePeriodSeconds: 1, containers: [{name: c, command: [/usr/bin/sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: onhost, namespace: shop, labels: {app: onhost}}
spec: {nodeName: node-2, hostNetwork: true, terminationGracePeriodSeconds: 1, containers: [{name: c, command: [/usr/bin/sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: outside, namespace: shop, annotations: {weft.dev/lab-external: "true"}}
spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, command: [/usr/bin/sleep, infinity]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: NodePort, clusterIP: 10.96.0.10, externalIPs: [198.51.100.10], selector: {app: web}, ports: [{name: http, port: 80, targetPort: http, nodePort: 30080}, {name: dns, port: 53, protocol: UDP, targetPort: dns}]}
---
apiVersion: v1
kind: Service
metadata: {name: pods, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: shop}
spec: {clusterIP: 10.96.0.11, selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: guarded, namespace: shop}
spec: {clusterIP: 10.96.0.12, selector: {app: guarded}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: shop}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: v1
kind: Service
metadata: {name: dual, namespace: shop}
spec: {selector: {app: web}, ipFamilies: [IPv4, IPv6], ipFamilyPolicy: RequireDualStack, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: six, namespace: shop}
spec: {selector: {app: web}, ipFamilies: [IPv6], ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: guard, namespace: shop}
spec: {podSelector: {matchLabels: {app: guarded}}, ingress: [{from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}}]}]}
)";

std::vector<nlohmann::json> every_probe() {
    struct Target {
        const char* to;
        int port;
        const char* protocol = "TCP";
    };
    const std::vector<Target> targets{
        {"shop/svc:web", 80},   {"shop/svc:web", 53, "UDP"}, {"shop/svc:web", 81},     {"shop/svc:web", 80, "UDP"},
        {"shop/svc:pods", 80},  {"shop/svc:pods", 8080},     {"shop/svc:empty", 80},   {"shop/svc:guarded", 80},
        {"shop/svc:far", 80},   {"shop/svc:dual", 80},       {"shop/svc:six", 80},     {"shop/svc:none", 80},
        {"ip:10.96.0.10", 80},  {"ip:198.51.100.10", 80},    {"ip:172.31.0.1", 30080}, {"ip:172.31.0.2", 30080},
        {"shop/guarded", 8080}, {"shop/web", 8080},          {"ip:198.51.100.99", 80}, {"shop/onhost", 9090},
        {"shop/nobody", 80}};
    std::vector<nlohmann::json> probes;
    for (const char* from :
         {"shop/client", "shop/web", "shop/onhost", "shop/outside", "ip:198.51.100.77", "ip:198.51.100.200"}) {
        for (const auto& target : targets) {
            probes.push_back({{"from", from}, {"to", target.to}, {"port", target.port}, {"protocol", target.protocol}});
        }
    }
    return probes;
}

TEST(Agreement, LabAndSimulateAgreeAboutServices) {
    const TestLab lab;
    lab.write("cluster.yaml", kCluster);
    lab.up();
    const auto probes = every_probe();
    const auto real = lab.probe(probes);
    std::string input;
    for (const auto& probe : probes) {
        input += probe.dump() + "\n";
    }
    const auto simulated = weft({"simulate", "--manifests", lab.folder(), "--probes", "-"}, input);
    std::istringstream lines(simulated.output);
    ASSERT_EQ(real.size(), probes.size());
    int allowed = 0;
    for (std::size_t i = 0; i < probes.size(); ++i) {
        std::string line;
        ASSERT_TRUE(std::getline(lines, line)) << simulated.error_output;
        const auto answer = nlohmann::json::parse(line);
        EXPECT_EQ(answer["verdict"], real[i]["verdict"]) << "lab: " << real[i] << "\nsimulate: " << answer;
        EXPECT_EQ(answer.value("answered_by", ""), real[i].value("answered_by", "")) << answer;
        allowed += real[i]["verdict"] == "allow";
    }
    EXPECT_GT(allowed, 40) << "a lab in which nothing works agrees with everything";
}

} // namespace
} // namespace weft::e2e
