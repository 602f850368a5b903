// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// fork, a fixed list of system calls, exec. The caller may have threads, so the child allocates nothing: everything it
// needs is prepared before the fork, and what fails is told over a pipe that exec closes.
#include "tools/lab/process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <string_view>

namespace weft::lab {
namespace {

/// Index of the step that failed, as text for the error. Order does not matter.
enum Step : int { kJoin, kEnter, kUnshare, kMounts, kHosts, kTmp, kStreams, kExec };
constexpr std::array kStepNames{"cannot join its cgroup",       "cannot enter its network namespace",
                                "cannot make its namespaces",   "cannot make its mounts private",
                                "cannot mount its /etc/hosts",  "cannot mount its /tmp",
                                "cannot open its input or log", "cannot execute it"};

struct Report {
    int step;
    int code;
};

/// Everything the child needs, as plain pointers and descriptors.
struct Plan {
    std::vector<char*> argv;
    std::vector<char*> env;
    std::string program;
    UniqueFd cgroup;
    UniqueFd netns;
    int input = -1;
    int output = -1;
    int error = -1;
};

std::vector<char*> pointers(const std::vector<std::string>& words) {
    std::vector<char*> list;
    for (const auto& word : words) {
        list.push_back(const_cast<char*>(word.c_str())); // execve's signature predates const; it does not write
    }
    list.push_back(nullptr);
    return list;
}

std::string lookup(const Launch& what) {
    const auto& name = what.argv.front();
    if (name.find('/') != std::string::npos) {
        return name;
    }
    std::string_view path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    if (const char* own = std::getenv("PATH"); what.env.empty() && own != nullptr) {
        path = own;
    }
    for (const auto& entry : what.env) {
        if (entry.starts_with("PATH=")) {
            path = std::string_view(entry).substr(5);
        }
    }
    while (!path.empty()) {
        const auto colon = std::min(path.find(':'), path.size());
        auto candidate = fmt::format("{}/{}", path.substr(0, colon), name);
        if (::access(candidate.c_str(), X_OK) == 0) {
            return candidate;
        }
        path.remove_prefix(std::min(colon + 1, path.size()));
    }
    return name;
}

/// Everything from cgroup to exec; returns the step that failed, with errno set.
Step enter_and_execute(const Launch& what, const Plan& plan) {
    if (plan.cgroup.valid() && ::write(plan.cgroup.get(), "0", 1) != 1) {
        return kJoin;
    }
    if (plan.netns.valid() && ::setns(plan.netns.get(), CLONE_NEWNET) != 0) {
        return kEnter;
    }
    const bool mounts = !what.hosts_file.empty() || !what.tmp_dir.empty();
    const int spaces = (mounts ? CLONE_NEWNS : 0) | (what.hostname.empty() ? 0 : CLONE_NEWUTS);
    if (spaces != 0 && ::unshare(spaces) != 0) {
        return kUnshare;
    }
    // Slave, not private: a network namespace that is removed outside must also vanish from this mount namespace.
    if (mounts && ::mount("none", "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) {
        return kMounts;
    }
    if (!what.hosts_file.empty() && ::mount(what.hosts_file.c_str(), "/etc/hosts", nullptr, MS_BIND, nullptr) != 0) {
        return kHosts;
    }
    if (!what.tmp_dir.empty() && ::mount(what.tmp_dir.c_str(), "/tmp", nullptr, MS_BIND, nullptr) != 0) {
        return kTmp;
    }
    if (!what.hostname.empty()) {
        (void)!::sethostname(what.hostname.data(), std::min<std::size_t>(what.hostname.size(), 63)); // cosmetic
    }
    if (what.new_session) {
        (void)::setsid(); // fails only for a group leader, which a fresh child is not
    }
    if ((plan.input >= 0 && ::dup2(plan.input, 0) < 0) || (plan.output >= 0 && ::dup2(plan.output, 1) < 0) ||
        (plan.error >= 0 && ::dup2(plan.error, 2) < 0)) {
        return kStreams;
    }
    for (int number = 1; number < NSIG; ++number) {
        if (number != SIGKILL && number != SIGSTOP) {
            ::signal(number, SIG_DFL);
        }
    }
    sigset_t none;
    sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execve(plan.program.c_str(), plan.argv.data(), plan.env.data());
    return kExec;
}

/// Fills in everything that needs memory.
Result<> prepare(const Launch& what, Plan& plan) {
    if (what.argv.empty()) {
        return invalid("cannot start a program: the command is empty");
    }
    plan.argv = pointers(what.argv);
    plan.program = lookup(what);
    if (!what.env.empty()) {
        plan.env = pointers(what.env);
    } else {
        for (char** entry = environ; *entry != nullptr; ++entry) {
            plan.env.push_back(*entry);
        }
        plan.env.push_back(nullptr);
    }
    if (!what.cgroup.empty()) {
        plan.cgroup.reset(::open((what.cgroup + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
        if (!plan.cgroup.valid()) {
            return system_failure("cannot start '{}': cgroup {}", what.argv.front(), what.cgroup);
        }
    }
    if (!what.netns.empty()) {
        plan.netns.reset(::open(what.netns.c_str(), O_RDONLY | O_CLOEXEC));
        if (!plan.netns.valid()) {
            return system_failure("cannot start '{}': network namespace {}", what.argv.front(), what.netns);
        }
    }
    return {};
}

Error step_error(const Launch& what, const Report& report) {
    return {report.code, fmt::format("cannot start '{}': {}: {}", what.argv.front(),
                                     kStepNames[static_cast<std::size_t>(report.step)], std::strerror(report.code))};
}

Result<Child> start(const Launch& what, Plan& plan) {
    WEFT_TRY(prepare(what, plan));
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return system_failure("cannot start '{}'", what.argv.front());
    }
    UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    const pid_t pid = ::fork();
    if (pid < 0) {
        return system_failure("cannot start '{}'", what.argv.front());
    }
    if (pid == 0) {
        const Report report{enter_and_execute(what, plan), errno};
        (void)!::write(writer.get(), &report, sizeof report); // nobody is left to tell if this fails
        ::_exit(127);
    }
    writer.reset();
    Report report{};
    if (::read(reader.get(), &report, sizeof report) == sizeof report) {
        (void)::waitpid(pid, nullptr, 0);
        return std::unexpected(step_error(what, report));
    }
    Child child{.pid = pid, .pidfd = UniqueFd(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)))};
    if (!child.pidfd.valid()) {
        return system_failure("cannot watch process {}", pid);
    }
    return child;
}

} // namespace

int shell_exit_code(int wait_status) {
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

Result<> become(const Launch& what) {
    Plan plan;
    WEFT_TRY(prepare(what, plan));
    const Step step = enter_and_execute(what, plan);
    return std::unexpected(step_error(what, {step, errno}));
}

Result<Child> launch(const Launch& what) {
    Plan plan;
    UniqueFd null;
    UniqueFd log;
    if (!what.log_file.empty()) {
        null.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
        log.reset(::open(what.log_file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
        if (!log.valid()) {
            return system_failure("cannot open log {}", what.log_file);
        }
        plan.input = null.get();
        plan.output = log.get();
        plan.error = log.get();
    }
    return start(what, plan);
}

Result<Finished> run_captured(const Launch& what, int timeout_ms) {
    std::array<std::array<int, 2>, 3> pipes{};
    for (auto& pipe : pipes) {
        if (::pipe2(pipe.data(), O_CLOEXEC) != 0) {
            return system_failure("cannot make a pipe");
        }
    }
    std::array<UniqueFd, 3> mine{UniqueFd(pipes[0][1]), UniqueFd(pipes[1][0]), UniqueFd(pipes[2][0])};
    std::array<UniqueFd, 3> theirs{UniqueFd(pipes[0][0]), UniqueFd(pipes[1][1]), UniqueFd(pipes[2][1])};
    Plan plan;
    plan.input = theirs[0].get();
    plan.output = theirs[1].get();
    plan.error = theirs[2].get();
    WEFT_ASSIGN(auto child, start(what, plan));
    for (auto& end : theirs) {
        end.reset();
    }
    Finished result;
    std::string_view rest = what.input;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
    bool late = false;
    (void)::fcntl(mine[0].get(), F_SETFL, O_NONBLOCK);
    while (mine[1].valid() || mine[2].valid()) {
        if (rest.empty()) {
            mine[0].reset();
        }
        std::array<pollfd, 3> events{pollfd{mine[0].get(), POLLOUT, 0}, pollfd{mine[1].get(), POLLIN, 0},
                                     pollfd{mine[2].get(), POLLIN, 0}};
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0) {
            (void)::kill(child.pid, SIGKILL);
            late = true;
            break;
        }
        (void)::poll(events.data(), events.size(), static_cast<int>(left.count()));
        if (events[0].revents != 0) {
            const auto sent = ::write(mine[0].get(), rest.data(), rest.size());
            rest.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : rest.size());
        }
        for (std::size_t i = 1; i < 3; ++i) {
            if (events[i].revents != 0) {
                std::array<char, 8192> block{};
                const auto got = ::read(mine[i].get(), block.data(), block.size());
                if (got > 0) {
                    (i == 1 ? result.output : result.error_output).append(block.data(), static_cast<std::size_t>(got));
                } else {
                    mine[i].reset();
                }
            }
        }
    }
    int status = 0;
    while (::waitpid(child.pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (late) {
        return failure(ETIMEDOUT, "'{}' did not end within {} ms", what.argv.front(), timeout_ms);
    }
    result.exit_code = shell_exit_code(status);
    return result;
}

} // namespace weft::lab
