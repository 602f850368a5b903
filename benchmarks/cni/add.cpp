// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What does weft-cni itself add to the start of a pod? From starting the process to its exit, with an agent that
// answers at once, beside the cost of starting a program that does nothing. One JSON object on stdout.
// Usage: cni_add [RUNS]
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "agent/enrol/server.hpp"
#include "weft/base/unique_fd.hpp"

namespace {

using Clock = std::chrono::steady_clock;

class AtOnce final : public weft::enrol::EnrolHandler {
public:
    void handle(weft::enrol::Request, weft::enrol::Reply reply) override { reply({}); }
};

struct Streams {
    weft::UniqueFd in;
    weft::UniqueFd out;
};

/// Milliseconds from start to exit; negative when the program failed.
double run_once(const std::string& program, const Streams& streams, const std::vector<std::string>& variables) {
    std::vector<char*> environment;
    for (const std::string& variable : variables) {
        environment.push_back(const_cast<char*>(variable.c_str())); // posix_spawn does not write to it
    }
    environment.push_back(nullptr);
    std::array<char*, 2> arguments = {const_cast<char*>(program.c_str()), nullptr};
    if (::lseek(streams.in.get(), 0, SEEK_SET) != 0) {
        return -1;
    }
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, streams.in.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, streams.out.get(), STDOUT_FILENO);
    pid_t child = 0;
    int status = 0;
    const auto start = Clock::now();
    const bool ran =
        ::posix_spawn(&child, program.c_str(), &actions, nullptr, arguments.data(), environment.data()) == 0 &&
        ::waitpid(child, &status, 0) == child;
    const auto end = Clock::now();
    ::posix_spawn_file_actions_destroy(&actions);
    return ran && WIFEXITED(status) && WEXITSTATUS(status) == 0
               ? std::chrono::duration<double, std::milli>(end - start).count()
               : -1;
}

struct Summary {
    double p50 = 0, p99 = 0, max = 0;
};

Summary summarise(std::vector<double> times) {
    std::ranges::sort(times);
    const auto at = [&](double share) {
        return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
    };
    return {at(0.5), at(0.99), times.back()};
}

} // namespace

int main(int argc, char** argv) {
    const int runs = std::max(10, argc > 1 ? std::atoi(argv[1]) : 1000);
    const std::string program =
        std::filesystem::canonical("/proc/self/exe").parent_path().parent_path() / "bin/weft-cni";
    std::string folder = std::filesystem::temp_directory_path() / "weft-bench-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) {
        std::perror("mkdtemp");
        return 1;
    }
    AtOnce handler;
    auto server =
        weft::enrol::EnrolServer::start({.path = folder + "/enrol.sock", .allowed_uid = ::geteuid()}, handler);
    if (!server) {
        std::fprintf(stderr, "%s\n", server.error().message().c_str());
        return 1;
    }
    const std::string input = fmt::format(
        R"({{"cniVersion":"1.0.0","name":"cluster","type":"weft-cni","agentSocket":"{}/enrol.sock","prevResult":{{"cniVersion":"1.0.0","interfaces":[{{"name":"veth1","mac":"02:00:00:00:00:01"}},{{"name":"eth0","mac":"02:00:00:00:00:02","sandbox":"/run/netns/x"}}],"ips":[{{"address":"10.1.0.5/24","interface":1,"gateway":"10.1.0.1"}},{{"address":"fd00::5/64","interface":1}}],"routes":[{{"dst":"0.0.0.0/0"}}],"dns":{{}}}}}})",
        folder);
    const Streams streams{weft::UniqueFd(::memfd_create("in", MFD_CLOEXEC)),
                          weft::UniqueFd(::open("/dev/null", O_WRONLY | O_CLOEXEC))};
    if (::write(streams.in.get(), input.data(), input.size()) != static_cast<ssize_t>(input.size())) {
        std::perror("memfd");
        return 1;
    }
    const std::vector<std::string> variables = {"CNI_COMMAND=ADD",
                                                "CNI_CONTAINERID=bench",
                                                "CNI_NETNS=/run/netns/x",
                                                "CNI_IFNAME=eth0",
                                                "CNI_ARGS=K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u",
                                                "CNI_PATH=/opt/cni/bin"};
    std::vector<double> add;
    std::vector<double> nothing;
    for (int i = 0; i < runs; ++i) { // alternating, so that both see the same machine
        add.push_back(run_once(program, streams, variables));
        nothing.push_back(run_once("/bin/true", streams, variables));
    }
    std::error_code ignored;
    server->reset();
    std::filesystem::remove_all(folder, ignored);
    if (std::ranges::min(add) < 0 || std::ranges::min(nothing) < 0) {
        std::fprintf(stderr, "a run failed: %s ADD, or /bin/true\n", program.c_str());
        return 1;
    }
    const Summary own = summarise(std::move(add));
    const Summary base = summarise(std::move(nothing));
    fmt::print(
        R"({{"benchmark":"cni_add","unit":"ms","runs":{},"weft_cni":{{"p50":{:.3f},"p99":{:.3f},"max":{:.3f}}},"bin_true":{{"p50":{:.3f},"p99":{:.3f},"max":{:.3f}}},"goal_p99":15,"met":{}}})"
        "\n",
        runs, own.p50, own.p99, own.max, base.p50, base.p99, base.max, own.p99 <= 15 ? "true" : "false");
    return 0;
}
