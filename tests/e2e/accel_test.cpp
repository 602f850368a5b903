// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A joined connection in a cluster: shown, kept while the agent is dead and by the next one, moved to TCP by a label,
// and ended with its pod. Not one byte of it is wrong.
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"

namespace weft::e2e {
namespace {

using ::testing::HasSubstr;

constexpr const char* kServer = R"(apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec:
  nodeName: node-1
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    command: [python3, -u, -c]
    args:
    - |
      import socketserver
      class Echo(socketserver.BaseRequestHandler):
          def handle(self):
              while data := self.request.recv(65536):
                  self.request.sendall(data)
      socketserver.ThreadingTCPServer.allow_reuse_address = True
      socketserver.ThreadingTCPServer(("", 8080), Echo).serve_forever()
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
)";

std::string home(const std::string& labels) {
    return "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {" + labels + "}}\n";
}

constexpr const char* kRest = R"(apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec: {nodeName: node-1, terminationGracePeriodSeconds: 1, containers: [{name: main}]}
)";

/// Sends numbered messages and compares what comes back, until the server is gone.
constexpr const char* kClient = R"(cat >/tmp/client.py <<'END'
import os, socket, time
s = socket.create_connection(("api", 80))
i = 0
try:
    while True:
        i += 1
        text = (b"%d " % i) * 2000
        s.sendall(text)
        back = b""
        while len(back) < len(text):
            more = s.recv(65536)
            if not more: raise ConnectionError
            back += more
        if back != text: raise SystemExit("wrong at %d" % i)
        time.sleep(0.02)
except OSError:
    print("ended after", i)
END
python3 /tmp/client.py 2>&1)";

TEST(Accel, AConnectionInsideANodeThroughEverythingThatHappensToIt) {
    const TestLab lab;
    const auto space = lab.write("home.yaml", home(""));
    const auto api = lab.write("api.yaml", kServer);
    lab.write("rest.yaml", kRest);
    lab.up({"--agent", "acceleration=on"});
    auto client = std::async(std::launch::async, [&] { return lab.in_pod("shop/client", kClient); });
    std::uint64_t skipped = 0;
    // Both ends, as the agent of their node lists them.
    const auto listed = [&](const std::string& accel) {
        const auto answer = weft(
            {"--socket", "/run/weft/lab/" + lab.name() + "/nodes/node-1/admin.sock", "conn", "list", "-o", "json"});
        const auto all = nlohmann::json::parse(answer.output, nullptr, false);
        if (!all.is_array()) {
            return false; // the agent is starting
        }
        int found = 0;
        std::uint64_t now = 0;
        for (const auto& one : all) {
            if (one.value("accel", "") == accel) {
                ++found;
                now = std::stoull(one.value("bytes_skipped", one.value("bytesSkipped", "0")));
            }
        }
        const bool good = found == 2 && now > skipped;
        skipped = good ? now : skipped;
        return good;
    };
    EXPECT_TRUE(eventually([&] { return listed("joined"); }, 30));
    EXPECT_EQ(lab.run({"kill-agent", "node-1"}).exit_code, 0);
    EXPECT_EQ(lab.run({"restart-agent", "node-1"}).exit_code, 0);
    EXPECT_TRUE(eventually([&] { return listed("joined"); }, 30)) << "it went on while the agent was dead";
    const auto before = skipped;
    lab.write("home.yaml", home("weft.dev/acceleration: \"off\""));
    EXPECT_EQ(lab.run({"apply", space}).exit_code, 0);
    EXPECT_TRUE(eventually(
        [&] {
            skipped = before - 1; // it may be the sum that was seen last
            return listed("left");
        },
        30));
    EXPECT_EQ(lab.run({"delete", api}).exit_code, 0);
    EXPECT_THAT(client.get(), HasSubstr("ended after"));
}

} // namespace
} // namespace weft::e2e
