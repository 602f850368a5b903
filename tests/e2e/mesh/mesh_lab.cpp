// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/e2e/mesh/mesh_lab.hpp"

#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/support/sockets.hpp"
#include "tools/lab/cgroup.hpp"
#include "tools/lab/names.hpp"

namespace weft::e2e {

namespace fs = std::filesystem;

namespace {

// This program where pods can run it: each has a /tmp of its own, which hides a build below /tmp.
std::string self() {
    static const struct Copy {
        Copy() { fs::copy_file("/proc/self/exe", path, fs::copy_options::overwrite_existing); }
        ~Copy() {
            std::error_code error;
            fs::remove(path, error);
        }
        Copy(const Copy&) = delete;
        Copy& operator=(const Copy&) = delete;
        std::string path = fmt::format("/var/tmp/weft-peer-{}", ::getpid());
    } copy;
    return copy.path;
}

/// Empty when it cannot be read, as /proc of a process that just ended.
std::string text_of(const std::string& path) {
    const std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string namespace_manifest(const std::string& label) {
    return fmt::format("apiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{weft.dev/mesh: {}}}}}\n",
                       label);
}

std::string pod_manifests() {
    return fmt::format(R"(apiVersion: v1
kind: ServiceAccount
metadata: {{name: api, namespace: shop}}
---
apiVersion: v1
kind: Pod
metadata: {{name: api, namespace: shop, labels: {{app: api}}}}
spec:
  nodeName: node-2
  serviceAccountName: api
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, command: ["{0}", peer, serve]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: api, namespace: shop}}
spec: {{selector: {{app: api}}, ports: [{{port: 80, targetPort: 7000}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: shop}}
spec: {{nodeName: node-1, terminationGracePeriodSeconds: 1, containers: [{{name: main}}]}}
)",
                       self());
}

} // namespace

bool in_guest() {
    return fs::exists("/weft/begin");
}

std::string expected_tier() {
    const auto listener = test::listen_on(test::SockAddr("127.0.0.1", 0));
    test::SockAddr at;
    (void)::getsockname(listener.get(), at.get(), &at.size);
    const auto fd = test::open_socket(AF_INET, SOCK_STREAM);
    EXPECT_EQ(test::connect_to(fd.get(), at), 0);
    return ::setsockopt(fd.get(), IPPROTO_TCP, TCP_ULP, "tls", 3) == 0 ? "relay" : "userspace";
}

Background::Background(std::vector<std::string> command, std::string file) : file_(std::move(file)) {
    output_ = std::async(std::launch::async, [command = std::move(command)] {
        auto done = lab::run_captured({.argv = command}, 1200 * 1000);
        return done ? done->output + done->error_output : done.error().message();
    });
}

Background::~Background() {
    (void)stop();
    for (const auto* end : {"", ".stop", ".part"}) {
        (void)::unlink((file_ + end).c_str());
    }
}

std::uint64_t Background::progress() const {
    return std::strtoull(text_of(file_).c_str(), nullptr, 10);
}

bool Background::started() const {
    return ::access(file_.c_str(), F_OK) == 0;
}

bool Background::goes_on(std::uint64_t more) const {
    const auto before = progress();
    return eventually([&] { return progress() >= before + more; }, kPatience);
}

std::string Background::stop() {
    std::ofstream(file_ + ".stop") << "stop";
    return output_.valid() ? output_.get() : "";
}

const TestLab& MeshLab::lab() {
    return *shared_lab();
}

void MeshLab::SetUp() {
    if (!shared_lab()) {
        bring_up();
    }
    ASSERT_FALSE(lab().status().is_null()) << "the lab is not up";
    ASSERT_TRUE(wait_enrolled(2)) << lab().status().dump(1);
}

void MeshLab::TearDown() {
    if (HasFailure()) {
        shared_lab().reset();
    }
}

void MeshLab::bring_up() {
    shared_lab() = std::make_unique<TestLab>();
    lab().write("0-namespace.yaml", namespace_manifest("enabled"));
    lab().write("1-pods.yaml", pod_manifests());
    const auto done =
        lab().run({"up", lab().folder(), "--timeout", std::to_string(kPatience)}, "", (kPatience + 60) * 1000);
    EXPECT_EQ(done.exit_code, 0) << done.output << done.error_output;
}

std::string MeshLab::address(const std::string& pod, bool ipv6) {
    const auto status = lab().status();
    for (const auto& one : status["pods"]) {
        for (const auto& ip : one["ips"]) {
            if (one["name"] == pod && (ip.get<std::string>().find(':') != std::string::npos) == ipv6) {
                return ip.get<std::string>();
            }
        }
    }
    ADD_FAILURE() << "pod " << pod << " has no such address";
    return "";
}

std::string MeshLab::peer(const std::string& pod, const std::vector<std::string>& verb) {
    std::vector<std::string> command{"exec", "shop/" + pod, "--", self(), "peer"};
    command.insert(command.end(), verb.begin(), verb.end());
    const auto done = lab().run(command, "", 900 * 1000);
    return done.output + done.error_output;
}

std::unique_ptr<Background> MeshLab::peer_in_background(const std::string& pod, std::vector<std::string> verb) {
    static std::atomic<int> count{0};
    // Shared by all pods, unlike /tmp.
    const auto file = fmt::format("/dev/shm/weft-{}-{}", lab().name(), ++count);
    std::ranges::replace(verb, "FILE", file);
    std::vector<std::string> command;
    if (pod == "wire") {
        command = {"ip", "netns", "exec", "weft-" + lab().name() + "-wire", self(), "peer"};
    } else {
        command = {weft_program(), "lab", "exec", "--name", lab().name(), "shop/" + pod, "--", self(), "peer"};
    }
    command.insert(command.end(), verb.begin(), verb.end());
    return std::make_unique<Background>(command, file);
}

std::unique_ptr<Background> MeshLab::watch_wire() {
    auto watcher = peer_in_background("wire", {"watch", "n1", "FILE"});
    EXPECT_TRUE(eventually([&] { return watcher->started(); }, kPatience));
    return watcher;
}

nlohmann::json MeshLab::ask(const std::string& node, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(),
                     {"--socket", "/run/weft/lab/" + lab().name() + "/nodes/" + node + "/admin.sock"});
    arguments.insert(arguments.end(), {"-o", "json"});
    return nlohmann::json::parse(weft(arguments).output, nullptr, false);
}

nlohmann::json MeshLab::listed_connection(const std::string& node) {
    const auto list = ask(node, {"conn", "list"});
    for (const auto& connection : list) {
        if (connection.is_object() && connection.value("security", "") == "mutual_tls") {
            return connection;
        }
    }
    return nullptr;
}

bool MeshLab::wait_enrolled(std::size_t count) {
    return eventually(
        [&] {
            std::size_t found = 0;
            std::error_code error;
            for (const auto& file : fs::directory_iterator("/run/weft/lab/" + lab().name() + "/manifests", error)) {
                found += text_of(file.path()).find("weft.dev/enrolled") != std::string::npos ? 1U : 0U;
            }
            return found == count;
        },
        kPatience);
}

void MeshLab::label_namespace(const std::string& value, std::size_t enrolled) {
    const auto file = lab().write("0-namespace.yaml", namespace_manifest(value));
    const auto done = lab().run({"apply", file});
    ASSERT_EQ(done.exit_code, 0) << done.error_output;
    ASSERT_TRUE(wait_enrolled(enrolled));
    // A pod that ran outside of the mesh is served at once, and dials when every node can know of it.
    EXPECT_TRUE(eventually([&] { return dialling_pods() == enrolled; }, kPatience));
}

std::size_t MeshLab::dialling_pods() {
    std::size_t found = 0;
    for (const auto* node : {"node-1", "node-2"}) {
        const auto text = ask(node, {"map", "dump", "weft_endpoint"}).dump();
        for (auto at = text.find("dials-tls"); at != std::string::npos; at = text.find("dials-tls", at + 1)) {
            ++found;
        }
    }
    return found;
}

std::vector<pid_t> MeshLab::relay_children() {
    const auto group = *lab::cgroup_mount() + "/" + lab::Names::make(lab().name())->authority_cgroup();
    std::ifstream procs(group + "/cgroup.procs");
    std::vector<pid_t> children;
    const auto is_relay = [](pid_t pid) { return text_of(fmt::format("/proc/{}/comm", pid)) == "weft-relay\n"; };
    for (pid_t pid = 0; procs >> pid;) {
        const auto stat = text_of(fmt::format("/proc/{}/stat", pid));
        const auto after = stat.rfind(") ");
        // "S PPID": the parent of a child that moves bytes is the weft-relay that keeps the descriptors.
        const auto parent = after == std::string::npos ? 0 : std::atoi(stat.c_str() + after + 4);
        if (is_relay(pid) && is_relay(parent)) {
            children.push_back(pid);
        }
    }
    return children;
}

} // namespace weft::e2e
