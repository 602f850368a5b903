// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Both agents die, enrolled pods go on to dial, and the next agents serve what waited: by mutual TLS, as before.
#include <fstream>
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"

namespace weft::e2e {
namespace {

constexpr const char* kManifests = R"(apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec:
  nodeName: node-2
  containers:
  - name: main
    command: [python3, -u, -c]
    args:
    - |
      import socket
      listener = socket.create_server(("", 8080), backlog=64)
      while True:
          connection, _ = listener.accept()
          connection.settimeout(5)
          try:
              if connection.recv(1): connection.sendall(b"here")
          except OSError: pass
          connection.close()
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec: {nodeName: node-1, containers: [{name: main}]}
)";

std::string ask(const TestLab& lab) {
    return lab.in_pod("shop/client", "python3 -c 'import socket; c = socket.create_connection((\"api\", 80), 60); "
                                     "c.sendall(b\"?\"); print(c.recv(9).decode())' 2>&1");
}

std::string published(const TestLab& lab, const std::string& node) {
    std::ifstream file("/run/weft/lab/" + lab.name() + "/nodes/" + node + "/enrolled.json");
    return {std::istreambuf_iterator<char>(file), {}};
}

TEST(MeshRestart, ConnectionsWaitForTheNextAgents) {
    const TestLab lab;
    lab.write("shop.yaml", std::string(kStrictShop) + kManifests);
    lab.up();
    ASSERT_TRUE(eventually([&] { return ask(lab).starts_with("here"); }, 60)) << ask(lab) << lab.status().dump(1);
    for (int round = 0; round < 2; ++round) {
        const auto before = published(lab, "node-2");
        EXPECT_THAT(before, ::testing::HasSubstr("api"));
        for (const auto* node : {"node-1", "node-2"}) {
            ASSERT_EQ(lab.run({"kill-agent", node}).exit_code, 0);
        }
        auto waiting = std::async(std::launch::async, [&lab] { return ask(lab); });
        EXPECT_EQ(waiting.wait_for(std::chrono::seconds(1)), std::future_status::timeout)
            << "nobody is there to serve it";
        for (const auto* node : {"node-1", "node-2"}) {
            const auto restarted = lab.run({"restart-agent", node});
            ASSERT_EQ(restarted.exit_code, 0) << restarted.error_output;
        }
        const auto answer = waiting.get();
        EXPECT_TRUE(answer.starts_with("here")) << answer;
        EXPECT_EQ(published(lab, "node-2"), before) << "never withdrawn: peers would dial in plaintext meanwhile";
    }
}

} // namespace
} // namespace weft::e2e
