// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One node's weftd as a child process: started in the node's namespace and cgroup, restarted when it ends by itself,
// left dead when the user killed it. Thread: loop.
#pragma once

#include <string>
#include <vector>

#include "tools/lab/loop.hpp"
#include "tools/lab/names.hpp"
#include "tools/lab/process.hpp"

namespace weft::lab {

class Agent {
public:
    /// `program`: path of weftd; empty when the lab runs without the mesh.
    /// `flags` are added to its command line.
    Agent(Loop& loop, Names names, std::string node, std::string program, std::string cgroup_mount,
          std::vector<std::string> flags);
    Agent(const Agent&) = delete;
    Agent& operator=(const Agent&) = delete;
    ~Agent();

    /// Starts it; fine when it runs.
    Result<> start();
    /// SIGKILL, and no restart until start().
    Result<> kill();

    [[nodiscard]] bool running() const { return child_.pid > 0; }
    [[nodiscard]] pid_t pid() const { return child_.pid; }
    [[nodiscard]] int restarts() const { return restarts_; }
    /// "running", "killed", or why it is down.
    [[nodiscard]] std::string state() const;
    /// True when its enrolment socket answers.
    [[nodiscard]] bool answers() const;

private:
    void ended();

    Loop& loop_;
    Names names_;
    std::string node_;
    std::string program_;
    std::string cgroup_mount_;
    std::vector<std::string> flags_;
    Child child_;
    bool wanted_ = false;
    int restarts_ = 0;
    std::string last_end_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

} // namespace weft::lab
