// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "tests/support/agent_world.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "agent/bpf/pins.hpp"
#include "tools/lab/cgroup.hpp"

namespace weft::test {

namespace fs = std::filesystem;

namespace {

/// A namespace without a name: it is gone when the last descriptor and process is.
UniqueFd new_netns() {
    UniqueFd made;
    std::thread([&] {
        if (::unshare(CLONE_NEWNET) == 0) {
            made.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
        }
    }).join();
    if (!made.valid()) {
        throw std::runtime_error("cannot make a network namespace: run as root");
    }
    return made;
}

lab::Finished require(Result<lab::Finished> done) {
    if (!done) {
        throw std::runtime_error(done.error().message());
    }
    return std::move(*done);
}

} // namespace

std::string built_program(const std::string& name) {
    return (fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" / name).string();
}

bool until(const std::function<bool()>& holds, int seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!holds()) {
        if (std::chrono::steady_clock::now() > deadline) {
            return false;
        }
        (void)::poll(nullptr, 0, 20);
    }
    return true;
}

Process::~Process() {
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
}

AgentWorld::AgentWorld() : netns_(new_netns()) {
    static std::atomic<int> count{0};
    const auto name = fmt::format("weft-agent-{}-{}", ::getpid(), ++count);
    root_ = "/tmp/" + name;
    pin_dir_ = "/sys/fs/bpf/" + name;
    const auto cgroup = lab::cgroup_path(name);
    if (!cgroup) {
        throw std::runtime_error(cgroup.error().message());
    }
    cgroup_ = *cgroup;
    fs::create_directories(manifests());
    fs::create_directories(workload_cgroup());
    (void)require(lab::run_captured({.argv = {"sh", "-c",
                                              fmt::format("ip link set lo up && ip addr add {}/32 dev lo && "
                                                          "ip addr add fd09::1/128 dev lo nodad",
                                                          kBackendIp)},
                                     .netns = netns()}));
}

AgentWorld::~AgentWorld() {
    (void)until(
        [this] {
            std::error_code error;
            fs::remove(workload_cgroup(), error);
            fs::remove(cgroup_ + "/weft-probe", error);
            fs::remove(cgroup_, error);
            return !fs::exists(cgroup_);
        },
        5);
    const bpf::PinLayout pins(pin_dir_);
    (void)bpf::remove_version(pins.version_dir());
    std::error_code error;
    fs::remove_all(pin_dir_, error);
    fs::remove_all(root_, error);
}

std::string AgentWorld::netns() const {
    return fmt::format("/proc/{}/fd/{}", ::getpid(), netns_.get());
}

void AgentWorld::write(const std::string& file, const std::string& text) const {
    const auto hidden = manifests() + "/." + file;
    std::ofstream(hidden) << text;
    fs::rename(hidden, manifests() + "/" + file);
}

void AgentWorld::remove(const std::string& file) const {
    fs::remove(manifests() + "/" + file);
}

std::vector<std::string> AgentWorld::agent_options() const {
    return {"--node-name", "a",       "--cgroup-path", cgroup_,     "--pin-dir",         pin_dir_,
            "--run-dir",   run_dir(), "--manifests",   manifests(), "--metrics-address", "127.0.0.1:9964"};
}

std::string AgentWorld::log() const {
    std::ifstream file(log_file());
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

std::string AgentWorld::map_path(const std::string& name) const {
    return bpf::PinLayout(pin_dir_).map(name);
}

lab::Finished AgentWorld::run(const std::vector<std::string>& argv, int timeout_ms) const {
    return require(lab::run_captured({.argv = argv, .netns = netns()}, timeout_ms));
}

lab::Finished AgentWorld::run_governed(const std::vector<std::string>& argv, int timeout_ms) const {
    return require(lab::run_captured({.argv = argv, .netns = netns(), .cgroup = workload_cgroup()}, timeout_ms));
}

AgentProcess::AgentProcess(const AgentWorld& world, const std::vector<std::string>& extra,
                           const std::vector<std::string>& environment) {
    static std::atomic<int> count{0};
    socket_path_ = fmt::format("{}/notify-{}", world.root(), ++count);
    notify_.reset(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket_path_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::bind(notify_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        throw std::runtime_error("cannot bind " + socket_path_);
    }
    lab::Launch launch{.argv = {built_program("weftd")}, .netns = world.netns(), .log_file = world.log_file()};
    const auto options = world.agent_options();
    launch.argv.insert(launch.argv.end(), options.begin(), options.end());
    launch.argv.insert(launch.argv.end(), extra.begin(), extra.end());
    for (char** variable = environ; *variable != nullptr; ++variable) {
        launch.env.emplace_back(*variable);
    }
    launch.env.push_back("NOTIFY_SOCKET=" + socket_path_);
    launch.env.insert(launch.env.end(), environment.begin(), environment.end());
    auto child = lab::launch(launch);
    if (!child) {
        throw std::runtime_error(child.error().message());
    }
    pid_ = child->pid;
    pidfd_ = std::move(child->pidfd);
}

AgentProcess::~AgentProcess() {
    kill();
    (void)::unlink(socket_path_.c_str());
}

bool AgentProcess::notified(const std::string& text, int seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        pollfd fds[2] = {{notify_.get(), POLLIN, 0}, {pidfd_.get(), POLLIN, 0}};
        if (left.count() <= 0 || ::poll(fds, 2, static_cast<int>(left.count())) <= 0) {
            return false;
        }
        char message[512];
        const auto got = ::recv(notify_.get(), message, sizeof message, 0);
        if (got > 0 && std::string(message, static_cast<std::size_t>(got)).find(text) != std::string::npos) {
            return true;
        }
        if (got <= 0 && fds[1].revents != 0) {
            return false;
        }
    }
}

int AgentProcess::wait(int seconds) {
    if (pid_ < 0) {
        return -1;
    }
    pollfd ended{pidfd_.get(), POLLIN, 0};
    if (::poll(&ended, 1, seconds * 1000) <= 0) {
        return -1;
    }
    int status = 0;
    (void)::waitpid(pid_, &status, 0);
    pid_ = -1;
    return lab::shell_exit_code(status);
}

int AgentProcess::stop(int seconds) {
    if (pid_ > 0) {
        (void)::kill(pid_, SIGTERM);
    }
    return wait(seconds);
}

void AgentProcess::kill() {
    if (pid_ > 0) {
        (void)::kill(pid_, SIGKILL);
        (void)wait(10);
    }
}

} // namespace weft::test
