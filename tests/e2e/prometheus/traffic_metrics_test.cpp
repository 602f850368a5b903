// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Does a real Prometheus see every connection of a real agent, exactly, also over the agent's death? And does every
// query of the dashboards mean something to it?
#include <cstdlib>
#include <fstream>
#include <regex>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"
#include "tests/e2e/prometheus/prometheus.hpp"
#include "tools/lab/names.hpp"

namespace weft::e2e {
namespace {

constexpr int kRequest = 1000, kResponse = 3000, kHeld = 5;

/// On node-1: pods "api" (answers kResponse bytes to kRequest), "client" (does nothing), and "holder", in its own file.
constexpr const char* kApi = R"(apiVersion: v1
kind: Pod
metadata: {name: api-0, namespace: shop, labels: {app: api, version: v2}}
spec:
  nodeName: node-1
  serviceAccountName: api
  containers:
  - name: main
    command: [python3, -u, -c]
    args:
    - |
      import socket, threading
      def serve(connection):
          with connection:
              left = 1000
              while left:
                  got = len(connection.recv(left))
                  if not got: return
                  left -= got
              connection.sendall(b"x" * 3000)
              connection.recv(1)
      listener = socket.create_server(("", 8080), backlog=256)
      while True:
          threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: 8080}]}
)";
constexpr const char* kHolder = R"(apiVersion: v1
kind: Pod
metadata: {name: holder, namespace: shop, labels: {app: holder}}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    command: [python3, -u, -c]
    args:
    - |
      import socket, time
      held = []
      while len(held) < 5:
          try: held.append(socket.create_connection(("api", 80), 20))
          except OSError: time.sleep(0.2)
      time.sleep(100000)
)";

/// On the first node, as everybody is whom one Prometheus is to see.
constexpr const char* kClient = R"(apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {nodeName: node-1, containers: [{name: main}]}
)";

/// So many requests, one connection each; the client ends them.
std::string requests(const TestLab& lab, int connections) {
    return lab.in_pod("shop/client", fmt::format(R"(python3 -c '
import socket
for i in range({}):
    with socket.create_connection(("api", 80), 20) as c:
        c.sendall(b"q" * {})
        left = {}
        while left: left -= len(c.recv(left)) or exit("cut")
print("done")' 2>&1)",
                                                 connections, kRequest, kResponse));
}

void load(const TestLab& lab, int connections) {
    ASSERT_EQ(requests(lab, connections), "done\n");
}

std::string series(const std::string& metric, const std::string& labels) {
    return fmt::format("sum(istio_tcp_{}_total{{{}}})", metric, labels);
}

class TrafficMetrics : public ::testing::Test {
protected:
    void SetUp() override {
        ASSERT_EQ(::setenv("WEFT_TRAFFIC_GRACE", "2", 1), 0); // the lab's agents inherit it
        lab.write("api.yaml", kApi);
        lab.write("client.yaml", kClient);
        holder = lab.write("holder.yaml", kHolder);
        lab.up();
        const auto names = lab::Names::make(lab.name());
        netns = lab::netns_path(names->node_netns("node-1"));
    }
    void TearDown() override { (void)::unsetenv("WEFT_TRAFFIC_GRACE"); }

    const TestLab lab;
    std::string netns, holder;
};

constexpr const char* kOut = R"(reporter="source",source_workload="client",destination_service_name="api")";
constexpr const char* kIn = R"(reporter="destination",source_workload="client",destination_workload="api")";

TEST_F(TrafficMetrics, CountEveryConnectionAndByteAndSurviveTheAgent) {
    const Prometheus prometheus(netns, lab.folder() + "/prometheus");
    const auto is = [&](const std::string& expression, double wanted) {
        std::optional<double> last;
        const bool came = eventually([&] { return (last = prometheus.value(expression)) == wanted; }, 60);
        EXPECT_TRUE(came) << expression << " is " << last.value_or(-1) << ", not " << wanted;
    };
    load(lab, 200);
    for (const auto* labels : {kOut, kIn}) {
        is(series("connections_opened", labels), 200);
        is(series("connections_closed", labels), 200);
        is(series("sent_bytes", labels), 200.0 * kResponse);
        is(series("received_bytes", labels), 200.0 * kRequest);
    }
    for (const auto* labels :
         {R"(reporter="source",source_workload="holder")", R"(reporter="destination",source_workload="holder")"}) {
        is(series("connections_opened", labels) + " - " + series("connections_closed", labels), kHeld);
    }

    // While nobody is there the kernel goes on counting.
    ASSERT_EQ(lab.run({"kill-agent", "node-1"}).exit_code, 0);
    load(lab, 50);
    ASSERT_EQ(lab.run({"restart-agent", "node-1"}).exit_code, 0);
    load(lab, 1);
    for (const auto* labels : {kOut, kIn}) {
        is(series("connections_opened", labels), 251);
        is(series("connections_closed", labels), 251);
        is(series("sent_bytes", labels), 251.0 * kResponse);
        is(series("received_bytes", labels), 251.0 * kRequest);
    }
    for (const auto* metric : {"connections_opened", "connections_closed", "sent_bytes", "received_bytes"}) {
        is(fmt::format("sum(resets(istio_tcp_{}_total[1h]))", metric), 0);
    }
    const std::string held = R"(reporter="source",source_workload="holder")";
    is(series("connections_opened", held) + " - " + series("connections_closed", held), kHeld);

    // What leaves takes its series along.
    ASSERT_EQ(lab.run({"delete", holder}).exit_code, 0);
    EXPECT_TRUE(eventually(
        [&] { return prometheus.query(R"(istio_tcp_connections_opened_total{source_workload="holder"})").empty(); },
        60));
    is(series("connections_opened", kOut), 251);
}

TEST_F(TrafficMetrics, HaveTheLabelsOfIstio) {
    const Prometheus prometheus(netns, lab.folder() + "/prometheus");
    load(lab, 1);
    const auto query = fmt::format("istio_tcp_connections_opened_total{{{}}}", kOut);
    ASSERT_TRUE(eventually([&] { return prometheus.query(query).size() == 1; }, 60));
    auto labels = prometheus.query(query)[0]["metric"].get<std::map<std::string, std::string>>();
    labels.erase("__name__");
    labels.erase("instance");
    labels.erase("job");
    const std::map<std::string, std::string> wanted{
        {"reporter", "source"},
        {"source_workload", "client"},
        {"source_workload_namespace", "shop"},
        {"source_principal", "unknown"},
        {"source_app", "client"},
        {"source_version", "unknown"},
        {"source_cluster", "Kubernetes"},
        {"source_canonical_service", "client"},
        {"source_canonical_revision", "latest"},
        {"destination_workload", "api"},
        {"destination_workload_namespace", "shop"},
        {"destination_principal", "unknown"},
        {"destination_app", "api"},
        {"destination_version", "v2"},
        {"destination_cluster", "Kubernetes"},
        {"destination_canonical_service", "api"},
        {"destination_canonical_revision", "v2"},
        {"destination_service", "api.shop.svc.cluster.local"},
        {"destination_service_name", "api"},
        {"destination_service_namespace", "shop"},
        {"request_protocol", "tcp"},
        {"response_flags", "-"},
        {"connection_security_policy", "none"},
    };
    EXPECT_EQ(labels, wanted);
}

TEST(MeshTrafficMetrics, SayWhoWasProven) {
    const TestLab lab;
    lab.write("shop.yaml", std::string(kStrictShop) + kClient);
    lab.write("api.yaml", std::regex_replace(kApi, std::regex("node-1"), "node-2"));
    lab.up();
    const auto names = lab::Names::make(lab.name());
    const Prometheus prometheus(lab::netns_path(names->node_netns("node-1")), lab.folder() + "/prometheus");
    ASSERT_TRUE(eventually([&] { return requests(lab, 1) == "done\n"; }, 60)) << lab.status().dump(1);
    const std::string labels =
        R"(connection_security_policy="mutual_tls",reporter="source",source_workload="client",)"
        R"(source_principal=~"spiffe://.*/ns/shop/sa/default",destination_principal=~"spiffe://.*/ns/shop/sa/api")";
    const auto all = [&](const char* metric) { return prometheus.value(series(metric, labels)).value_or(0); };
    // Those that came before the mesh was there may have been refused after they sent something.
    ASSERT_TRUE(eventually(
        [&] { return all("sent_bytes") >= kResponse && all("connections_opened") == all("connections_closed"); }, 60));
    const double sent = all("sent_bytes"), received = all("received_bytes"), closed = all("connections_closed");
    load(lab, 20);
    EXPECT_TRUE(eventually([&] { return all("connections_closed") == closed + 20; }, 30)) << all("connections_closed");
    EXPECT_EQ(all("sent_bytes"), sent + 20 * kResponse);
    EXPECT_EQ(all("received_bytes"), received + 20 * kRequest);
    EXPECT_EQ(all("connections_opened"), all("connections_closed"));
}

/// As Grafana fills it in.
std::string filled_in(std::string query) {
    for (const auto& [variable, value] :
         std::map<std::string, std::string>{{"\\$__rate_interval", "1m"}, {"\\$(instance|namespace|workload)", ".*"}}) {
        query = std::regex_replace(query, std::regex(variable), value);
    }
    return query;
}

TEST_F(TrafficMetrics, AnswerEveryQueryOfTheDashboards) {
    const Prometheus prometheus(netns, lab.folder() + "/prometheus",
                                std::filesystem::absolute("deploy/prometheus/weft.rules.yml"));
    load(lab, 20);
    ASSERT_TRUE(eventually([&] { return prometheus.value(series("connections_opened", kOut)) == 20; }, 60));
    load(lab, 20); // a rate needs two scrapes that differ
    ASSERT_TRUE(eventually([&] { return prometheus.value(series("connections_opened", kOut)) == 40; }, 60));
    std::set<std::string> titles;
    for (const auto* name : {"overview", "workload"}) {
        const auto dashboard = nlohmann::json::parse(std::ifstream(fmt::format("deploy/grafana/weft-{}.json", name)));
        for (const auto& panel : dashboard["panels"]) {
            for (const auto& target : panel["targets"]) {
                const auto query = filled_in(target["expr"].get<std::string>());
                EXPECT_EQ(query.find('$'), std::string::npos) << query;
                EXPECT_TRUE(eventually([&] { return !prometheus.query(query).empty(); }, 20))
                    << panel["title"] << " shows nothing: " << query;
            }
            titles.insert(fmt::format("{} {}", name, panel["title"].get<std::string>()));
        }
    }
    EXPECT_EQ(titles.size(), 28U) << "two panels of one dashboard have the same title";
    const auto rules = prometheus.ask("rules", "type=record"); // named: a temporary would be gone inside the loop
    for (const auto& group : rules["groups"]) {
        for (const auto& rule : group["rules"]) {
            EXPECT_EQ(rule.value("lastError", ""), "") << rule["name"];
        }
    }
    EXPECT_TRUE(eventually([&] { return !prometheus.query("weft:connect_latency_seconds:p99_5m").empty(); }, 20));
    EXPECT_TRUE(prometheus.query(R"(ALERTS{alertstate="firing"})").empty());
}

TEST(PrometheusRules, FireWhenTheyShould) {
    const auto tested =
        lab::run_captured({.argv = {"promtool", "test", "rules", "deploy/prometheus/weft.test.yml"}}, 120000);
    ASSERT_TRUE(tested.has_value()) << tested.error().message();
    EXPECT_EQ(tested->exit_code, 0) << tested->output << tested->error_output;
}

} // namespace
} // namespace weft::e2e
