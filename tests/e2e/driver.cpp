// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Processes, polling, manifests.
#include "tests/e2e/driver.hpp"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include "tools/lab/cgroup.hpp"

namespace weft::e2e {

namespace fs = std::filesystem;

std::string weft_program() {
    return (fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" / "weft").string();
}

lab::Finished weft(const std::vector<std::string>& arguments, const std::string& input, int timeout_ms) {
    std::vector<std::string> argv{weft_program()};
    argv.insert(argv.end(), arguments.begin(), arguments.end());
    auto done = lab::run_captured({.argv = argv, .input = input}, timeout_ms);
    if (!done) {
        ADD_FAILURE() << done.error().message();
        return {.exit_code = -1};
    }
    return std::move(*done);
}

namespace {

class EndOfAllTests : public testing::Environment {
public:
    void TearDown() override { shared_lab().reset(); }
};
[[maybe_unused]] const auto* const kEndOfAllTests = testing::AddGlobalTestEnvironment(new EndOfAllTests);

} // namespace

std::unique_ptr<TestLab>& shared_lab() {
    static std::unique_ptr<TestLab> lab;
    return lab;
}

bool eventually(const std::function<bool()>& holds, int seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        (void)::poll(nullptr, 0, 50);
    }
    return true;
}

TestLab::TestLab() {
    static std::atomic<int> count{0};
    name_ = fmt::format("t{}x{}", ::getpid(), ++count);
    folder_ = fs::temp_directory_path() / ("weft-e2e-" + name_);
    fs::create_directories(folder_);
}

TestLab::~TestLab() {
    if (!traces_of(name_).empty()) {
        (void)weft({"lab", "down", "--name", name_});
    }
    std::error_code error;
    fs::remove_all(folder_, error);
}

std::string TestLab::write(const std::string& file, const std::string& text) const {
    const auto path = folder_ / file;
    std::ofstream(path) << text;
    return path.string();
}

lab::Finished TestLab::run(std::vector<std::string> arguments, const std::string& input, int timeout_ms) const {
    arguments.insert(arguments.begin(), "lab");
    // Before a "--", after which everything belongs to the pod's command.
    arguments.insert(arguments.begin() + 2, {"--name", name_});
    return weft(arguments, input, timeout_ms);
}

void TestLab::up(const std::vector<std::string>& extra) const {
    // In an emulated guest on a busy machine the agents alone may take a minute.
    std::vector<std::string> arguments{"up", folder(), "--timeout", "180"};
    arguments.insert(arguments.end(), extra.begin(), extra.end());
    const auto done = run(arguments, "", 240000);
    ASSERT_EQ(done.exit_code, 0) << done.output << done.error_output;
}

nlohmann::json TestLab::status() const {
    const auto done = run({"status", "-o", "json"});
    return done.exit_code == 0 ? nlohmann::json::parse(done.output) : nlohmann::json();
}

std::string TestLab::in_pod(const std::string& pod, const std::string& line) const {
    return run({"exec", pod, "--", "sh", "-c", line}).output;
}

std::vector<nlohmann::json> TestLab::probe(const std::vector<nlohmann::json>& lines) const {
    std::string input;
    for (const auto& line : lines) {
        input += line.dump() + "\n";
    }
    const auto done = run({"probe", "-"}, input);
    EXPECT_EQ(done.exit_code, 0) << done.error_output;
    std::vector<nlohmann::json> answers;
    std::istringstream output(done.output);
    for (std::string line; std::getline(output, line);) {
        answers.push_back(nlohmann::json::parse(line));
    }
    EXPECT_EQ(answers.size(), lines.size());
    return answers;
}

namespace {

/// Killed already, and waiting for init to take notice: no lab's doing.
bool is_zombie(const fs::path& process) {
    std::ifstream file(process / "stat");
    std::stringstream text;
    text << file.rdbuf();
    const auto state = text.str().rfind(") ");
    return state == std::string::npos || text.str().compare(state + 2, 1, "Z") == 0 ||
           text.str().compare(state + 2, 1, "X") == 0;
}

} // namespace

std::vector<std::string> traces_of(const std::string& name) {
    const auto mark = "weft-" + name;
    std::vector<std::string> traces;
    std::error_code error;
    const auto mount = lab::cgroup_mount().value_or("/sys/fs/cgroup");
    for (const auto& folder : {fs::path("/run/netns"), fs::path(mount), fs::path("/sys/fs/bpf")}) {
        for (const auto& entry : fs::directory_iterator(folder, error)) {
            const auto file = entry.path().filename().string();
            if (file == mark || file.starts_with(mark + "-")) {
                traces.push_back(entry.path().string());
            }
        }
    }
    if (fs::exists("/run/weft/lab/" + name, error)) {
        traces.push_back("/run/weft/lab/" + name);
    }
    for (const auto& entry : fs::directory_iterator("/proc", error)) {
        std::ifstream cgroup(entry.path() / "cgroup");
        std::stringstream text;
        text << cgroup.rdbuf();
        if (text.str().find("/" + mark + "/") != std::string::npos && !is_zombie(entry.path())) {
            traces.push_back(entry.path().string());
        }
    }
    for (const auto* table : {"/proc/self/mountinfo", "/proc/net/dev"}) {
        std::ifstream lines(table);
        for (std::string line; std::getline(lines, line);) {
            if (line.find(mark + "-") != std::string::npos || line.find("/lab/" + name) != std::string::npos) {
                traces.push_back(line);
            }
        }
    }
    return traces;
}

std::string web_manifest(const std::string& name, int replicas) {
    return fmt::format(R"(apiVersion: apps/v1
kind: Deployment
metadata: {{name: {0}, namespace: shop}}
spec:
  replicas: {1}
  selector: {{matchLabels: {{app: {0}}}}}
  template:
    metadata: {{labels: {{app: {0}}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
        - name: nginx
          command: [/bin/sh, -c]
          args:
            - |
              cd /tmp
              cat >nginx.conf <<EOF
              daemon off; pid /tmp/pid; error_log stderr; worker_processes 1;
              events {{ worker_connections 512; }}
              http {{
                access_log off; client_body_temp_path /tmp/a; proxy_temp_path /tmp/b; fastcgi_temp_path /tmp/c;
                uwsgi_temp_path /tmp/d; scgi_temp_path /tmp/e;
                server {{ listen 8080 backlog=4096; listen [::]:8080 backlog=4096; location / {{ return 200 "$HOSTNAME\n"; }} }}
              }}
              EOF
              /usr/sbin/nginx -c /tmp/nginx.conf &
              trap 'sleep 1; kill -QUIT $!; wait $!; exit' TERM # what a preStop hook would do
              wait $!
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{tcpSocket: {{port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {0}, namespace: shop}}
spec:
  selector: {{app: {0}}}
  ports: [{{port: 80, targetPort: http}}]
)",
                       name, replicas);
}

std::string idle_pod(const std::string& name) {
    return fmt::format(R"(apiVersion: v1
kind: Pod
metadata: {{name: {0}, namespace: shop, labels: {{app: {0}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: shell, command: [/usr/bin/sleep, infinity]}}]
)",
                       name);
}

} // namespace weft::e2e
