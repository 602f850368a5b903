// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/e2e/identity/source_lab.hpp"

#include <unistd.h>

#include <atomic>
#include <fstream>

#include <fmt/format.h>

namespace weft::e2e {
namespace {

namespace fs = std::filesystem;

constexpr int kPatience = 90;

constexpr const char* kManifests = R"(apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop, labels: {app: api}}
spec:
  nodeName: node-2
  serviceAccountName: api
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    command: [python3, -u, -c]
    args:
    - |
      import socket, threading
      def serve(s):
          with s:
              s.sendall(s.recv(99))
      listener = socket.create_server(("", 8080), backlog=1024)
      while True:
          threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec: {nodeName: node-1, serviceAccountName: client, terminationGracePeriodSeconds: 1, containers: [{name: main}]}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {selector: {app: api}, ports: [{port: 80, targetPort: 8080}]}
)";

/// Begins when the first request is served; a file shows how far it is.
constexpr const char* kLoad = R"(import os, socket, time
folder, served, failed = "FOLDER", 0, 0
while not os.path.exists(folder + "/stop"):
    try:
        with socket.create_connection(("api", 80), 30) as s:
            s.sendall(b"hi")
            ok = s.recv(99) == b"hi"
    except OSError as error:
        ok = False
        if served: print(error)
    served, failed = served + ok, failed + (not ok and served > 0)
    if served:
        with open(folder + "/served.new", "w") as file: file.write(str(served))
        os.rename(folder + "/served.new", folder + "/served")
    time.sleep(0.02)
print(f"{failed} failed")
)";

} // namespace

SourceLab::SourceLab() : lab_(std::make_unique<TestLab>()) {
    static std::atomic<int> count{0};
    folder = fmt::format("/var/tmp/weft-source-{}-{}", ::getpid(), ++count);
    fs::create_directories(folder);
}

SourceLab::~SourceLab() {
    std::ofstream(folder / "stop") << "stop";
    if (load_.valid()) {
        load_.wait();
    }
    lab_.reset();
    std::error_code error;
    fs::remove_all(folder, error);
}

void SourceLab::bring_up(const std::string& setting) {
    lab_->write("shop.yaml", std::string(kStrictShop) + kManifests);
    lab_->up({"--agent", setting});
    std::string script = kLoad;
    script.replace(script.find("FOLDER"), 6, folder.string());
    std::ofstream(folder / "load.py") << script;
    load_ = std::async(std::launch::async, [this] {
        return lab_->in_pod("shop/client", "python3 " + (folder / "load.py").string() + " 2>&1");
    });
    ASSERT_TRUE(eventually([this] { return served() > 0; }, kPatience)) << status("node-1") << status("node-2");
}

std::string SourceLab::load_ends() {
    std::ofstream(folder / "stop") << "stop";
    return load_.get();
}

std::uint64_t SourceLab::served() const {
    std::uint64_t count = 0;
    std::ifstream(folder / "served") >> count;
    return count;
}

bool SourceLab::goes_on() const {
    const auto before = served();
    return eventually([&] { return served() >= before + 10; }, kPatience);
}

std::string SourceLab::status(const std::string& node) const {
    return weft({"--socket", "/run/weft/lab/" + lab_->name() + "/nodes/" + node + "/admin.sock", "status"}).output;
}

bool SourceLab::in_use(const identity::test::Material& api, const identity::test::Material& client) const {
    return eventually(
        [&] {
            return status("node-2").find(api.serial()) != std::string::npos &&
                   status("node-1").find(client.serial()) != std::string::npos;
        },
        kPatience);
}

} // namespace weft::e2e
