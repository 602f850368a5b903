// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Two nodes, a real authority, real agents: what crosses the wire between enrolled pods, and what their applications
// see.
#include <fstream>
#include <future>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/e2e/driver.hpp"

namespace weft::e2e {
namespace {

using ::testing::HasSubstr;

constexpr const char* kMark = "WEFT-PLAINTEXT-MARK";

/// A namespace in the mesh with a server on one node and a client on the other.
std::string manifests(const std::string& mesh_label) {
    return fmt::format(R"(apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{weft.dev/mesh: {0}}}}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {{name: api, namespace: shop}}
---
apiVersion: v1
kind: Pod
metadata: {{name: api, namespace: shop, labels: {{app: api}}}}
spec:
  nodeName: node-2
  serviceAccountName: api
  containers:
  - name: main
    command: [python3, -u, -c]
    args:
    - |
      import http.server
      class Answer(http.server.BaseHTTPRequestHandler):
          def do_GET(self):
              body = ("{1} from " + self.client_address[0] + "\n").encode()
              self.send_response(200)
              self.send_header("Content-Length", str(len(body)))
              self.end_headers()
              self.wfile.write(body)
          def log_message(self, *ignored): pass
      http.server.ThreadingHTTPServer(("", 8080), Answer).serve_forever()
    readinessProbe: {{tcpSocket: {{port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: api, namespace: shop}}
spec: {{selector: {{app: api}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: shop}}
spec: {{nodeName: node-1, containers: [{{name: main}}]}}
)",
                       mesh_label, kMark);
}

/// Counts, on the link between the nodes, packets to or from port 8080 and those that show the mark, for some seconds.
std::future<lab::Finished> watch_wire(const TestLab& lab, int seconds) {
    const std::string program = fmt::format(R"(
import select, socket, sys, time
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
packets = marked = tls = 0
end = time.time() + {}
print("watching", flush=True)
while time.time() < end:
    if not select.select([wire], [], [], 0.1)[0]: continue
    frame = wire.recv(65536)
    if frame[12:14] != b"\x08\x00" or frame[23] != 6: continue
    head = 14 + (frame[14] & 15) * 4
    ports = int.from_bytes(frame[head:head+2], "big"), int.from_bytes(frame[head+2:head+4], "big")
    if 8080 not in ports: continue
    packets += 1
    payload = frame[head + (frame[head+12] >> 4) * 4:]
    marked += b"{}" in payload
    tls += payload[:2] == b"\x17\x03"
print(packets, marked, tls)
)",
                                            seconds, kMark);
    return std::async(std::launch::async, [&lab, program, seconds] {
        return *lab::run_captured(
            {.argv = {"ip", "netns", "exec", "weft-" + lab.name() + "-wire", "python3", "-c", program}},
            (seconds + 20) * 1000);
    });
}

/// Do the pods' agents publish that both are enrolled?
bool enrolled(const TestLab& lab, std::size_t count) {
    std::size_t found = 0;
    for (const auto& file : std::filesystem::directory_iterator("/run/weft/lab/" + lab.name() + "/manifests")) {
        std::ifstream stream(file.path());
        const std::string text((std::istreambuf_iterator<char>(stream)), {});
        found += text.find("weft.dev/enrolled") != std::string::npos ? 1U : 0U;
    }
    return found == count;
}

TEST(Mesh, BytesBetweenNodesAreEncryptedAndApplicationsSeeEachOther) {
    const TestLab lab;
    lab.write("shop.yaml", manifests("enabled"));
    lab.up();
    ASSERT_TRUE(eventually([&] { return enrolled(lab, 2); }, 60)) << lab.status().dump(1);
    const auto own =
        lab.in_pod("shop/client", "ip -4 -o addr show scope global | grep -oE '10\\.244[0-9.]+' | head -n 1");
    auto wire = watch_wire(lab, 6);
    std::string answers;
    EXPECT_TRUE(eventually([&] {
        answers = lab.in_pod("shop/client", "curl -s -m 5 http://api/");
        return !answers.empty();
    }));
    for (int i = 0; i < 20; ++i) {
        answers = lab.in_pod("shop/client", "curl -sS -m 5 http://api/ 2>&1");
        EXPECT_THAT(answers, HasSubstr(kMark));
    }
    EXPECT_EQ(answers, fmt::format("{} from {}\n", kMark, own.substr(0, own.find('\n'))));
    const auto seen = wire.get();
    std::istringstream numbers(seen.output.substr(seen.output.find('\n') + 1));
    int packets = 0;
    int marked = -1;
    int tls = 0;
    numbers >> packets >> marked >> tls;
    EXPECT_GT(packets, 50) << seen.output << seen.error_output;
    EXPECT_GT(tls, 20) << "application data records on the original port";
    EXPECT_EQ(marked, 0);
}

/// What one node's agent answers, as JSON.
nlohmann::json ask(const TestLab& lab, const std::string& node, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"--socket", "/run/weft/lab/" + lab.name() + "/nodes/" + node + "/admin.sock"});
    arguments.insert(arguments.end(), {"-o", "json"});
    const auto answer = weft(arguments);
    return nlohmann::json::parse(answer.output, nullptr, false);
}

TEST(Mesh, ShowsConnectionsCertificatesAndRefusals) {
    const TestLab lab;
    lab.write("shop.yaml", manifests("enabled"));
    lab.up();
    ASSERT_TRUE(eventually([&] { return enrolled(lab, 2); }, 60));
    ASSERT_TRUE(eventually([&] { return !lab.in_pod("shop/client", "curl -s -m 5 http://api/").empty(); }));

    auto open = std::async(std::launch::async, [&lab] {
        return lab.in_pod(
            "shop/client",
            "python3 -c 'import socket, time; s = socket.create_connection((\"api\", 80)); time.sleep(3)'");
    });
    nlohmann::json shown;
    EXPECT_TRUE(eventually(
        [&] {
            for (const auto& connection : ask(lab, "node-2", {"conn", "list"})) {
                if (connection.value("security", "") == "mutual_tls") {
                    shown = connection;
                    return true;
                }
            }
            return false;
        },
        5));
    open.get();
    EXPECT_EQ(shown.value("peer_identity", shown.value("peerIdentity", "")),
              "spiffe://cluster.local/ns/shop/sa/default");
    EXPECT_EQ(shown.value("peer", ""), "shop/client");

    const auto status = weft({"--socket", "/run/weft/lab/" + lab.name() + "/nodes/node-2/admin.sock", "status"});
    EXPECT_THAT(status.output, HasSubstr("Mutual TLS:"));
    EXPECT_THAT(status.output, HasSubstr("spiffe://cluster.local/ns/shop/sa/api   valid"));

    // A port on which the application does not listen: refused behind the handshake, and said so.
    const auto pod = lab.status();
    std::string address;
    for (const auto& one : pod["pods"]) {
        if (one["name"] == "api") {
            address = one["ips"][0].get<std::string>();
        }
    }
    (void)lab.in_pod("shop/client", "curl -s -m 5 http://" + address + ":9/; true");
    EXPECT_TRUE(eventually(
        [&] {
            const auto flows =
                weft({"--socket", "/run/weft/lab/" + lab.name() + "/nodes/node-2/admin.sock", "flows", "--last", "50"});
            return flows.output.find("connect-failed") != std::string::npos;
        },
        5));
}

/// Permissive pods talk in plaintext with whom is not enrolled. Losing a certificate is no way to get there.
TEST(Mesh, APermissivePodWithoutACertificateIsNotServedInPlaintext) {
    const TestLab lab;
    lab.write("shop.yaml", manifests("enabled"));
    lab.up();
    ASSERT_TRUE(eventually([&] { return enrolled(lab, 2); }, 60));
    const auto request = [&lab] { return lab.in_pod("shop/client", "curl -sS -m 2 http://api/ 2>&1; true"); };
    ASSERT_TRUE(eventually([&] { return request().starts_with(kMark); }));
    const auto ca = std::filesystem::path(weft_program()).parent_path() / "weft-ca";
    const auto at_the_authority = [&](std::vector<std::string> words) {
        words.insert(words.begin(), {ca.string(), "--dir", "/run/weft/lab/" + lab.name() + "/ca"});
        return lab::run_captured({.argv = std::move(words)})->exit_code;
    };
    for (const auto* account : {"default", "api"}) { // the client's identity, then the server's
        const auto id = std::string("spiffe://cluster.local/ns/shop/sa/") + account;
        ASSERT_EQ(at_the_authority({"revoke", id}), 0);
        ASSERT_TRUE(eventually([&] { return !request().starts_with(kMark); })) << account;
        // Long enough for a withdrawal to reach every node.
        EXPECT_FALSE(eventually([&] { return request().starts_with(kMark); }, 5)) << account;
        EXPECT_TRUE(enrolled(lab, 2)) << account;
        ASSERT_EQ(at_the_authority({"revoke", "--undo", id}), 0);
        EXPECT_TRUE(eventually([&] { return request().starts_with(kMark); }, 60)) << account;
    }
}

TEST(Mesh, WithoutTheLabelNothingChanges) {
    const TestLab lab;
    lab.write("shop.yaml", manifests("disabled"));
    lab.up();
    auto wire = watch_wire(lab, 4);
    for (int i = 0; i < 10; ++i) {
        EXPECT_THAT(lab.in_pod("shop/client", "curl -sS -m 5 http://api/ 2>&1"), HasSubstr(kMark));
    }
    const auto seen = wire.get();
    std::istringstream numbers(seen.output.substr(seen.output.find('\n') + 1));
    int packets = 0;
    int marked = 0;
    numbers >> packets >> marked;
    EXPECT_GT(marked, 0) << "the capture sees plaintext when there is some: " << seen.output;
}

} // namespace
} // namespace weft::e2e
