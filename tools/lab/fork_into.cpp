// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// fork, cgroup, namespace, work, exit.
#include "tools/lab/fork_into.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "tools/lab/cgroup.hpp"

namespace weft::lab {
namespace {

Result<> enter(const Place& place) {
    WEFT_TRY(join_cgroup(place.cgroup, 0)); // before the namespace: sockets belong to the cgroup of their maker
    const UniqueFd netns(::open(place.netns.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid() || ::setns(netns.get(), CLONE_NEWNET) != 0) {
        return system_failure("cannot enter {}", place.netns);
    }
    rlimit files{};
    if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)::setrlimit(RLIMIT_NOFILE, &files); // a lower limit shows as EMFILE where it matters
    }
    return {};
}

} // namespace

Helper::~Helper() {
    if (pid_ > 0) {
        (void)::kill(pid_, SIGKILL); // ours and not reaped yet
        (void)::waitpid(pid_, nullptr, 0);
    }
}

void write_all(int fd, const std::string& text) {
    std::string_view rest = text;
    while (!rest.empty()) {
        const auto sent = ::write(fd, rest.data(), rest.size());
        if (sent < 0 && errno != EINTR) {
            return;
        }
        rest.remove_prefix(sent > 0 ? static_cast<std::size_t>(sent) : 0);
    }
}

Result<Helper> fork_into(const Place& place, const std::function<void(int output)>& work) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return system_failure("cannot make a pipe");
    }
    UniqueFd reader(ends[0]);
    UniqueFd writer(ends[1]);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) {
        return system_failure("cannot start a process in {}", place.cgroup);
    }
    if (pid == 0) {
        reader.reset();
        (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (::getppid() == parent) { // else the parent ended before the line above
            if (auto entered = enter(place); entered) {
                work(writer.get());
            } else {
                write_all(writer.get(), "error " + entered.error().message() + "\n");
            }
        }
        ::_exit(0);
    }
    return Helper(pid, std::move(reader));
}

} // namespace weft::lab
