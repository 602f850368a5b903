// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Starting a program where a pod's program belongs: in its cgroup and network namespace before it can make a socket,
// with its own /etc/hosts, /tmp and host name.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::lab {

/// What to start, and where. Empty strings mean "as the caller".
struct Launch {
    std::vector<std::string> argv = {}; ///< argv[0] is looked up in PATH of `env` (or of the caller)
    std::vector<std::string> env = {};  ///< "NAME=value"; empty: the caller's environment
    std::string input = {};             ///< run_captured only: what the program reads on stdin
    std::string netns = {};             ///< path of the network namespace
    std::string cgroup = {};            ///< absolute path of the cgroup
    std::string hostname = {};          ///< in a UTS namespace of its own
    std::string hosts_file = {};        ///< shown as /etc/hosts, in a mount namespace of its own
    std::string tmp_dir = {};           ///< shown as /tmp, in a mount namespace of its own
    std::string log_file = {};          ///< stdout and stderr are appended here; stdin is /dev/null
    bool new_session = false;      ///< no controlling terminal, a process group of its own
};

struct Child {
    pid_t pid = -1;
    UniqueFd pidfd = UniqueFd(); ///< readable when the process ended
};

/// Starts the program. Returns once it executes; an error says which step failed ("cannot execute 'x': ...").
Result<Child> launch(const Launch& what);

/// Turns the calling process into the program, as execve does; returns only on failure. For a single-threaded caller.
Result<> become(const Launch& what);

struct Finished {
    int exit_code = 0; ///< 128 + signal when a signal ended it
    std::string output = {};
    std::string error_output = {};
};

/// Starts the program, feeds it `input`, and waits until it ends; it is killed after `timeout_ms`.
/// Error: as launch(), or ETIMEDOUT.
Result<Finished> run_captured(const Launch& what, int timeout_ms = 30000);

/// Exit code of a wait status as a shell reports it.
int shell_exit_code(int wait_status);

} // namespace weft::lab
