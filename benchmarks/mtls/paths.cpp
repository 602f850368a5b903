// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "benchmarks/mtls/paths.hpp"

#include <signal.h>

#include <filesystem>
#include <fstream>
#include <future>

#include <fmt/core.h>

#include "benchmarks/mtls/sidecars.hpp"
#include "tools/lab/cgroup.hpp"
#include "tools/lab/names.hpp"
#include "tools/lab/process.hpp"

namespace weft::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kPatience = 600; ///< seconds: every instruction may be emulated

std::string self() {
    return fs::read_symlink("/proc/self/exe").string();
}

std::string text_of(const std::string& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::string manifests_of(const std::string& name, const std::string& mesh) {
    return fmt::format(R"(apiVersion: v1
kind: Namespace
metadata: {{name: {0}, labels: {{weft.dev/mesh: {1}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: server, namespace: {0}}}
spec:
  nodeName: node-2
  containers: [{{name: main, command: ["{2}", peer, serve, "{3}"]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: {0}}}
spec: {{nodeName: node-1, containers: [{{name: main}}]}}
)",
                       name, mesh, self(), kServerPort);
}

std::vector<pid_t> processes_of(const std::string& program) {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
        const pid_t pid = std::atoi(entry.path().filename().c_str());
        if (pid > 0 && text_of(fmt::format("/proc/{}/comm", pid)) == program + "\n") {
            found.push_back(pid);
        }
    }
    return found;
}

/// Resident KiB of all processes of a program and, for Weft, of its agent and its relay.
double resident(const std::string& program) {
    double sum = 0;
    for (const auto& name :
         program == "weft" ? std::vector<std::string>{"weftd", "weft-relay"} : std::vector{program}) {
        for (const pid_t pid : processes_of(name)) {
            const auto status = text_of(fmt::format("/proc/{}/status", pid));
            if (const auto at = status.find("VmRSS:"); at != std::string::npos) {
                sum += std::strtod(status.c_str() + at + 6, nullptr);
            }
        }
    }
    return sum;
}

} // namespace

Result<Paths> Paths::start() {
    std::string folder = "/run/weft-mtls-XXXXXX"; // shared by all pods, unlike /tmp
    if (::mkdtemp(folder.data()) == nullptr) {
        return system_failure("making {}", folder);
    }
    fs::permissions(folder, fs::perms(0755));
    Paths paths(folder);
    const auto& lab = *paths.lab_;
    lab.write("plain.yaml", manifests_of("plain", "disabled"));
    lab.write("mesh.yaml", manifests_of("mesh", "enabled"));
    const auto up = lab.run({"up", lab.folder(), "--timeout", std::to_string(kPatience)}, "", kPatience * 1000);
    if (up.exit_code != 0) {
        return failure(EIO, "weft lab up: {}{}", up.output, up.error_output);
    }
    WEFT_ASSIGN(const auto plain, paths.address_of("plain/server"));
    WEFT_ASSIGN(const auto mesh, paths.address_of("mesh/server"));
    WEFT_TRY(write_certificates(folder));
    WEFT_TRY(write_configurations(folder, plain));
    WEFT_TRY(paths.in_pod(
        "plain/server",
        {"sh", "-c",
         fmt::format("{0} peer serve {1} {2} </dev/null >{2}/native.log 2>&1 & haproxy -D -f {2}/haproxy-server.cfg "
                     "</dev/null >{2}/haproxy-server.log 2>&1 && nginx -c {2}/nginx-server.conf </dev/null",
                     self(), kNativePort, folder)},
        kPatience));
    WEFT_TRY(
        paths.in_pod("plain/client",
                     {"sh", "-c",
                      fmt::format("haproxy -D -f {0}/haproxy-client.cfg </dev/null >{0}/haproxy-client.log 2>&1 && "
                                  "nginx -c {0}/nginx-client.conf </dev/null",
                                  folder)},
                     kPatience));
    const auto enrolled = [&] {
        int count = 0;
        for (const auto& file : fs::directory_iterator("/run/weft/lab/" + lab.name() + "/manifests")) {
            count += text_of(file.path()).find("weft.dev/enrolled") != std::string::npos ? 1 : 0;
        }
        return count == 2;
    };
    if (!e2e::eventually(enrolled, kPatience)) {
        return failure(ETIMEDOUT, "the pods of namespace mesh are not enrolled");
    }
    paths.paths_ = {{"plain", "plain", plain, kServerPort, false, ""},
                    {"native", "plain", plain, kNativePort, true, ""},
                    {"haproxy_full", "plain", "127.0.0.1", kHaproxyPort, false, ""},
                    {"haproxy", "plain", "127.0.0.1", kHaproxyResumed, false, "haproxy"},
                    {"nginx", "plain", "127.0.0.1", kNginxPort, false, "nginx"},
                    {"weft", "mesh", mesh, kServerPort, false, "weft"}};
    return paths;
}

Result<std::string> Paths::in_pod(const std::string& pod, const std::vector<std::string>& command, int seconds) const {
    std::vector<std::string> arguments{"exec", pod, "--"};
    arguments.insert(arguments.end(), command.begin(), command.end());
    const auto done = lab_->run(arguments, "", seconds * 1000);
    if (done.exit_code != 0) {
        return failure(EIO, "in {}: {}: {}{}", pod, command.back(), done.output, done.error_output);
    }
    return done.output;
}

Result<std::string> Paths::address_of(const std::string& pod) const {
    const auto status = lab_->status();
    for (const auto& one : status["pods"]) {
        if (one["namespace"].get<std::string>() + "/" + one["name"].get<std::string>() == pod && !one["ips"].empty()) {
            return one["ips"][0].get<std::string>();
        }
    }
    return failure(ENOENT, "pod {} has no address", pod);
}

Result<nlohmann::json> Paths::measure(const Path& path) const {
    std::vector<std::string> command{self(), "peer", "measure", path.address, std::to_string(path.port)};
    if (path.native) {
        command.push_back(folder_);
    }
    WEFT_ASSIGN(const auto text, in_pod(path.pods + "/client", command, kPatience));
    auto result = nlohmann::json::parse(text, nullptr, false);
    if (!result.is_object()) {
        return failure(EIO, "path {}: not a result: {}", path.name, text);
    }
    return result;
}

Result<double> Paths::idle_cost(const Path& path, int count) const {
    const auto held = [&](int connections, int seconds) {
        return in_pod(path.pods + "/client",
                      {"sh", "-c",
                       fmt::format("rm -f {0}/held; {1} peer hold {2} {3} {4} {5} </dev/null >{0}/held 2>&1 & "
                                   "until grep -q open {0}/held 2>/dev/null; do sleep 0.2; kill -0 $! || exit 1; done",
                                   folder_, self(), path.address, path.port, connections, seconds)},
                      kPatience);
    };
    WEFT_TRY(held(1, 1)); // everything that the first connection needs is there
    const double before = resident(path.idle_of);
    WEFT_TRY(held(count, 30));
    return resident(path.idle_of) - before;
}

Result<> Paths::end_relays() const {
    WEFT_ASSIGN(const auto mount, lab::cgroup_mount());
    WEFT_ASSIGN(const auto names, lab::Names::make(lab_->name()));
    std::ifstream procs(mount + "/" + names.authority_cgroup() + "/cgroup.procs");
    for (pid_t pid = 0; procs >> pid;) {
        if (text_of(fmt::format("/proc/{}/comm", pid)) == "weft-relay\n") {
            (void)::kill(pid, SIGKILL);
        }
    }
    return {};
}

Result<std::string> Paths::tier() const {
    auto done = std::async(std::launch::async, [&] {
        return in_pod("mesh/client",
                      {self(), "peer", "hold", paths_.back().address, std::to_string(kServerPort), "1", "15"},
                      kPatience);
    });
    std::string tier;
    const bool seen = e2e::eventually(
        [&] {
            const auto listed = e2e::weft({"--socket", "/run/weft/lab/" + lab_->name() + "/nodes/node-1/admin.sock",
                                           "conn", "list", "-o", "json"});
            for (const auto& one : nlohmann::json::parse(listed.output, nullptr, false)) {
                if (one.is_object() && one.value("security", "") == "mutual_tls") {
                    tier = one.value("tier", "");
                }
            }
            return !tier.empty();
        },
        60);
    WEFT_TRY(done.get());
    if (!seen) {
        return failure(ETIMEDOUT, "no agent lists the connection as mutual TLS");
    }
    return tier;
}

} // namespace weft::bench
