// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A real weftd in a world of its own: a network namespace, a cgroup, a pin directory, a folder of manifests. For tests
// and benchmarks of the agent as a whole, where the lab's cluster would only be in the way.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "tools/lab/process.hpp"
#include "weft/base/ip.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::test {

/// Address on the namespace's loopback that backends may listen on.
inline constexpr const char* kBackendIp = "10.9.0.1";

/// Everything but the agent. Its destructor removes namespace, cgroup, pins and files.
class AgentWorld {
public:
    AgentWorld();
    ~AgentWorld();
    AgentWorld(const AgentWorld&) = delete;
    AgentWorld& operator=(const AgentWorld&) = delete;

    [[nodiscard]] std::string manifests() const { return root_ + "/manifests"; }
    [[nodiscard]] std::string run_dir() const { return root_ + "/run"; }
    [[nodiscard]] std::string log_file() const { return root_ + "/weftd.log"; }
    [[nodiscard]] const std::string& root() const { return root_; }
    [[nodiscard]] const std::string& pin_dir() const { return pin_dir_; }
    [[nodiscard]] const std::string& cgroup() const { return cgroup_; }
    /// A cgroup below cgroup() for programs that are governed.
    [[nodiscard]] std::string workload_cgroup() const { return cgroup_ + "/load"; }
    [[nodiscard]] std::string netns() const;
    /// Writes manifests()/FILE by a rename, so that it is never seen half written.
    void write(const std::string& file, const std::string& text) const;
    void remove(const std::string& file) const;
    /// The options that place an agent in this world.
    [[nodiscard]] std::vector<std::string> agent_options() const;
    /// What the agents of this world logged so far.
    [[nodiscard]] std::string log() const;
    /// Path of a pinned map.
    [[nodiscard]] std::string map_path(const std::string& name) const;
    /// Runs a program inside, outside the governed cgroup.
    [[nodiscard]] lab::Finished run(const std::vector<std::string>& argv, int timeout_ms = 30000) const;
    /// The same as a governed workload.
    [[nodiscard]] lab::Finished run_governed(const std::vector<std::string>& argv, int timeout_ms = 30000) const;

private:
    std::string root_, pin_dir_, cgroup_;
    UniqueFd netns_;
};

/// One running weftd. Its destructor kills it.
class AgentProcess {
public:
    /// Starts it; `extra` options come last. Does not wait.
    explicit AgentProcess(const AgentWorld& world, const std::vector<std::string>& extra = {},
                          const std::vector<std::string>& environment = {});
    ~AgentProcess();
    AgentProcess(const AgentProcess&) = delete;
    AgentProcess& operator=(const AgentProcess&) = delete;

    /// Waits for a message on NOTIFY_SOCKET that contains `text` ("READY=1"); false when it ended or time is over.
    bool notified(const std::string& text, int seconds = 30);
    /// SIGTERM, then its exit code; -1 when it did not end in time.
    int stop(int seconds = 10);
    /// SIGKILL.
    void kill();
    /// Exit code once it ended by itself; -1 when it did not in time.
    int wait(int seconds);
    [[nodiscard]] pid_t pid() const { return pid_; }

private:
    pid_t pid_ = -1;
    UniqueFd pidfd_, notify_;
    std::string socket_path_;
};

/// Kills a program that a test started, and waits for it.
class Process {
public:
    explicit Process(pid_t pid) : pid_(pid) {}
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

private:
    pid_t pid_;
};

/// A program of this build: "weft", "weftd".
std::string built_program(const std::string& name);

/// Asks again and again until `holds`; false when `seconds` are over.
bool until(const std::function<bool()>& holds, int seconds = 10);

} // namespace weft::test
