// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The programs are a few lines of Python, so that what is governed is an ordinary program of its own.
#include "tests/e2e/agent/traffic.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include <fstream>
#include <stdexcept>

namespace weft::test {
namespace {

constexpr const char* kServer = R"(
import socket, sys
listener = socket.create_server((sys.argv[1], 8080), backlog=1024)
open(sys.argv[2], 'w').close()
while True:
    connection, _ = listener.accept()
    try:
        connection.sendall(b'ok')
    except OSError:
        pass
    connection.close()
)";

constexpr const char* kRequest = R"(
import errno, socket, sys
try:
    with socket.create_connection((sys.argv[1], 80), timeout=3) as connection:
        print(connection.recv(16).decode(), end='')
        connection.recv(16) # its end: the server's comes first
except OSError as error:
    print(errno.errorcode.get(error.errno, str(error)), end='')
)";

constexpr const char* kLoad = R"(
import os, socket, sys
ok = failed = 0
while True:
    try:
        with socket.create_connection((sys.argv[1], 80), timeout=3) as connection:
            good = connection.recv(16) == b'ok'
    except OSError:
        good = False
    ok, failed = ok + good, failed + (not good)
    with open(sys.argv[2] + '.new', 'w') as report:
        report.write(f'{ok} {failed}\n')
    os.rename(sys.argv[2] + '.new', sys.argv[2])
)";

pid_t start(const lab::Launch& launch) {
    auto child = lab::launch(launch);
    if (!child) {
        throw std::runtime_error(child.error().message());
    }
    return child->pid;
}

void end(pid_t& pid) {
    if (pid > 0) {
        (void)::kill(pid, SIGKILL);
        (void)::waitpid(pid, nullptr, 0);
        pid = -1;
    }
}

} // namespace

std::string service_with_backend(const std::string& name, const std::string& cluster_ip) {
    return fmt::format(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {0}, namespace: shop}}\nspec: {{clusterIP: "
        "{1}, ports: [{{port: 80, targetPort: 8080}}]}}\n---\napiVersion: discovery.k8s.io/v1\nkind: "
        "EndpointSlice\nmetadata: {{name: {0}-1, namespace: shop, labels: {{kubernetes.io/service-name: "
        "{0}}}}}\naddressType: IPv4\nports: [{{port: 8080}}]\nendpoints: [{{addresses: [{2}]}}]\n",
        name, cluster_ip, kBackendIp);
}

Server::Server(const AgentWorld& world) {
    const auto ready = world.root() + "/server-ready";
    pid_ = start({.argv = {"python3", "-c", kServer, kBackendIp, ready},
                  .netns = world.netns(),
                  .log_file = world.root() + "/server.log"});
    if (!until([&] { return std::ifstream(ready).good(); })) {
        end(pid_);
        throw std::runtime_error("the server does not listen");
    }
}

Server::~Server() {
    end(pid_);
}

std::string request(const AgentWorld& world, const std::string& address) {
    return world.run_governed({"python3", "-c", kRequest, address}).output;
}

Load::Load(const AgentWorld& world, const std::string& address) : report_(world.root() + "/load") {
    pid_ = start({.argv = {"python3", "-c", kLoad, address, report_},
                  .netns = world.netns(),
                  .cgroup = world.workload_cgroup(),
                  .log_file = world.root() + "/load.log"});
}

Load::~Load() {
    end(pid_);
}

Load::Counts Load::count() const {
    Counts counts;
    std::ifstream(report_) >> counts.ok >> counts.failed;
    return counts;
}

Load::Counts Load::stop() {
    end(pid_);
    return count();
}

} // namespace weft::test
