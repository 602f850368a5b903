// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What `weft simulate` says about Services and addresses; the same table is held against real connections in tests/e2e.
#include <gtest/gtest.h>

#include "agent/k8s/parse.hpp"
#include "tools/weft/simulate_cluster.hpp"

namespace weft::simulate {
namespace {

constexpr const char* kCluster = R"(
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: node-1, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bypass, namespace: shop, annotations: {weft.dev/mesh-bypass: "true"}}
spec: {nodeName: node-1, containers: [{name: c}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {nodeName: node-2, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}
status: {phase: Running, podIPs: [{ip: 10.244.2.11}, {ip: "fd00:244:2::11"}], conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, labels: {app: web, version: two}}
spec: {nodeName: node-1, containers: [{name: c, ports: [{name: http, containerPort: 9090}]}]}
status: {phase: Running, podIPs: [{ip: 10.244.1.12}], conditions: [{type: Ready, status: "False"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: onhost, namespace: shop}
spec: {nodeName: node-1, hostNetwork: true, containers: [{name: c}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {type: NodePort, clusterIP: 10.96.0.10, externalIPs: [198.51.100.10], selector: {app: web}, ports: [{port: 80, targetPort: http, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: shop}
spec: {clusterIP: 10.96.0.13, publishNotReadyAddresses: true, selector: {version: two}, ports: [{port: 80, targetPort: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: pods, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: shop}
spec: {clusterIP: 10.96.0.11, selector: {app: nobody}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: six, namespace: shop}
spec: {ipFamilies: [IPv6], selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: far, namespace: shop}
spec: {type: ExternalName, externalName: example.org}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: guard, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}, {ipBlock: {cidr: 198.51.100.0/25}}, {ipBlock: {cidr: 172.31.0.0/24}}], ports: [{port: 8080}]}]}
)";

struct Expectation {
    const char* from;
    const char* to;
    int port;
    const char* verdict;
    const char* error;
    const char* rule;
    const char* answered_by;
    const char* protocol = "TCP";
};

void PrintTo(const Expectation& e, std::ostream* os) {
    *os << e.from << " -> " << e.to << ":" << e.port << "/" << e.protocol;
}

class Simulate : public ::testing::TestWithParam<Expectation> {
protected:
    static void SetUpTestSuite() { cluster_ = std::make_unique<Cluster>(parsed(), 2); }
    static void TearDownTestSuite() { cluster_.reset(); }
    static std::vector<k8s::Object> parsed() {
        auto outcome = k8s::parse_documents(kCluster, "cluster.yaml");
        for (const auto& refusal : outcome.refusals) {
            ADD_FAILURE() << refusal.key.to_string() << " " << refusal.field << " " << refusal.message;
        }
        return std::move(outcome.objects);
    }
    static std::unique_ptr<Cluster> cluster_;
};
std::unique_ptr<Cluster> Simulate::cluster_;

TEST_P(Simulate, Answers) {
    const auto& e = GetParam();
    const nlohmann::json line{{"from", e.from}, {"to", e.to}, {"port", e.port}, {"protocol", e.protocol}};
    const auto probe = probe::parse_probe(line.dump());
    ASSERT_TRUE(probe.has_value()) << probe.error().message();
    const auto answer = cluster_->answer(*probe);
    EXPECT_EQ(probe::verdict_name(answer.verdict), e.verdict) << answer.error;
    EXPECT_EQ(answer.answered_by, e.answered_by);
    EXPECT_EQ(answer.rule, e.rule);
    if (answer.verdict == probe::Verdict::kError) {
        EXPECT_NE(answer.error.find(e.error), std::string::npos) << answer.error;
    } else {
        EXPECT_EQ(answer.error, e.error);
    }
}

constexpr const char* kGuard = "shop/guard ingress[0]";

INSTANTIATE_TEST_SUITE_P(
    Services, Simulate,
    ::testing::Values(
        // Cluster IP, by name and by address; the named target port is the pod's own number.
        Expectation{"shop/client", "shop/svc:web", 80, "allow", "", kGuard, "shop/web-1"},
        Expectation{"shop/client", "ip:10.96.0.10", 80, "allow", "", kGuard, "shop/web-1"},
        Expectation{"shop/client", "shop/svc:two", 80, "deny", "ETIMEDOUT", "default-deny", ""},
        Expectation{"shop/web-2", "shop/svc:two", 80, "allow", "", "default", "shop/web-2"},
        // External addresses and node ports, of any node, for whoever runs in the cluster.
        Expectation{"shop/client", "ip:198.51.100.10", 80, "allow", "", kGuard, "shop/web-1"},
        Expectation{"shop/client", "ip:172.31.0.1", 30080, "allow", "", kGuard, "shop/web-1"},
        Expectation{"shop/client", "ip:172.31.0.2", 30080, "allow", "", kGuard, "shop/web-1"},
        Expectation{"shop/client", "ip:172.31.0.2", 30081, "allow", "", "default", "node/node-2"},
        Expectation{"shop/onhost", "shop/svc:web", 80, "allow", "", kGuard, "shop/web-1"},
        // Headless: the port is dialled as it is.
        Expectation{"shop/client", "shop/svc:pods", 80, "deny", "ETIMEDOUT", "default-deny", ""},
        Expectation{"shop/client", "shop/svc:pods", 8080, "error", "no port 8080", "", ""},
        // Nobody there.
        Expectation{"shop/client", "shop/svc:empty", 80, "deny", "ECONNREFUSED", "no-backend", ""},
        Expectation{"shop/client", "shop/svc:web", 81, "deny", "ETIMEDOUT", "no-service", ""},
        Expectation{"shop/client", "shop/svc:web", 80, "deny", "ETIMEDOUT", "no-service", "", "UDP"},
        Expectation{"shop/client", "shop/svc:web", 80, "error", "probe the pods", "", "", "SCTP"},
        Expectation{"shop/client", "shop/svc:far", 80, "error", "no address to dial", "", ""},
        Expectation{"shop/client", "shop/svc:none", 80, "error", "no Service shop/none", "", ""},
        Expectation{"shop/nobody", "shop/svc:web", 80, "error", "no pod shop/nobody", "", ""},
        // Families.
        Expectation{"shop/client", "shop/svc:six", 80, "allow", "", kGuard, "shop/web-1"},
        Expectation{"shop/web-2", "shop/svc:six", 80, "error", "no address family in common", "", ""},
        Expectation{"ip:198.51.100.77", "shop/svc:six", 80, "error", "no address family in common", "", ""},
        // Outside the cluster nothing translates, but pods' own addresses are judged.
        Expectation{"ip:198.51.100.77", "shop/svc:web", 80, "deny", "ETIMEDOUT", "no-service", ""},
        Expectation{"ip:198.51.100.77", "ip:198.51.100.10", 80, "deny", "ETIMEDOUT", "no-service", ""},
        Expectation{"ip:198.51.100.77", "shop/web-1", 8080, "allow", "", kGuard, "shop/web-1"},
        Expectation{"ip:198.51.100.77", "shop/web-1", 8081, "deny", "ETIMEDOUT", "default-deny", ""},
        Expectation{"ip:198.51.100.200", "shop/web-1", 8080, "deny", "ETIMEDOUT", "default-deny", ""},
        Expectation{"ip:10.244.2.11", "shop/web-1", 9, "allow", "", "default", "shop/web-1"},
        Expectation{"shop/client", "ip:198.51.100.99", 80, "allow", "", "default", "ip:198.51.100.99"},
        Expectation{"shop/bypass", "shop/svc:web", 80, "deny", "ETIMEDOUT", "no-service", ""}));

} // namespace
} // namespace weft::simulate
