// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weftd's command line in a lab, and its life.
#include "tools/lab/agents.hpp"

#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstring>
#include <filesystem>

#include "tools/lab/cgroup.hpp"

namespace weft::lab {

Agent::Agent(Loop& loop, Names names, std::string node, std::string program, std::string cgroup_mount,
             std::vector<std::string> flags)
    : loop_(loop), names_(std::move(names)), node_(std::move(node)), program_(std::move(program)),
      cgroup_mount_(std::move(cgroup_mount)), flags_(std::move(flags)) {}

Agent::~Agent() {
    *alive_ = false;
    if (child_.pidfd.valid()) {
        loop_.unwatch(child_.pidfd.get());
    }
}

Result<> Agent::start() {
    wanted_ = true;
    if (running() || program_.empty()) {
        return {};
    }
    const auto run_dir = names_.agent_run_dir(node_);
    std::error_code error;
    std::filesystem::create_directories(run_dir, error);
    const auto cgroup = cgroup_mount_ + "/" + names_.agent_cgroup(node_);
    WEFT_TRY(create_cgroup(cgroup));
    WEFT_TRY(create_cgroup(cgroup_mount_ + "/" + names_.host_cgroup(node_)));
    std::vector<std::string> argv = {program_,
                                     "--node-name",
                                     node_,
                                     "--cgroup-path",
                                     cgroup_mount_ + "/" + names_.node_cgroup(node_),
                                     "--pin-dir",
                                     names_.node_pins(node_),
                                     "--run-dir",
                                     run_dir,
                                     "--manifests",
                                     names_.manifests(),
                                     "--metrics-address",
                                     "0.0.0.0:9964"};
    argv.insert(argv.end(), flags_.begin(), flags_.end());
    WEFT_ASSIGN(child_, launch({.argv = std::move(argv),
                                .netns = netns_path(names_.node_netns(node_)),
                                .cgroup = cgroup,
                                .log_file = names_.agent_log(node_),
                                .new_session = true}));
    loop_.watch(child_.pidfd.get(), [this] { ended(); });
    return {};
}

Result<> Agent::kill() {
    wanted_ = false;
    if (!running()) {
        return failure(ESRCH, "the agent of node '{}' is not running: {}", node_, state());
    }
    (void)::kill(child_.pid, SIGKILL); // ours, and not reaped yet
    return {};
}

void Agent::ended() {
    loop_.unwatch(child_.pidfd.get());
    int status = 0;
    (void)::waitpid(child_.pid, &status, 0); // the pidfd said that it ended
    child_ = Child{};
    last_end_ =
        wanted_ ? fmt::format("ended with {}, see {}", shell_exit_code(status), names_.agent_log(node_)) : "killed";
    if (wanted_) {
        ++restarts_;
        loop_.after(std::chrono::milliseconds(500) * std::min(restarts_, 10), [this, alive = alive_] {
            if (*alive && wanted_) {
                if (auto started = start(); !started) {
                    last_end_ = started.error().message();
                }
            }
        });
    }
}

std::string Agent::state() const {
    if (program_.empty()) {
        return "no mesh";
    }
    return running() ? "running" : last_end_.empty() ? "not started" : last_end_;
}

bool Agent::answers() const {
    if (program_.empty()) {
        return true;
    }
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const auto path = names_.agent_run_dir(node_) + "/enrol.sock";
    std::memcpy(address.sun_path, path.data(), std::min(path.size(), sizeof address.sun_path - 1));
    const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    return running() && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

} // namespace weft::lab
