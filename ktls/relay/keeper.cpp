// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The parent's loop, its child, and its rebirth.
#include "ktls/relay/keeper.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <new>
#include <pthread.h>
#include <string>
#include <utility>
#include <vector>

#include "ktls/relay/sandbox.hpp"
#include "ktls/relay/worker.hpp"

namespace weft::relay {
namespace {

// A child that dies at once may do so again: not faster than this, so that the parent stays reachable.
constexpr std::uint64_t kShortLifeNs = 20'000'000;
constexpr long kPauseNs = 20'000'000;

std::uint64_t now_ns() {
    timespec now{};
    (void)::clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

struct Start {
    Memory* memory;
    std::uint32_t thread;
    pthread_barrier_t* confined;
};

void* run_worker(void* argument) {
    const auto* start = static_cast<const Start*>(argument);
    Worker worker(*start->memory, start->thread);
    pthread_barrier_wait(start->confined); // made: allocations and threads
    pthread_barrier_wait(start->confined); // confined
    worker.run();
}

[[noreturn]] void run_child(Memory& memory, pid_t parent) {
    // A parent that is gone has closed nothing yet as long as we live: its descriptors are ours, too.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) {
        ::_exit(1);
    }
    sigset_t all;
    (void)::sigfillset(&all);
    (void)::sigprocmask(SIG_BLOCK, &all, nullptr);
    const std::uint32_t threads = memory.header().threads;
    pthread_barrier_t confined;
    pthread_barrier_init(&confined, nullptr, threads + 1);
    std::vector<Start> starts(threads);
    for (std::uint32_t i = 0; i < threads; ++i) {
        starts[i] = {&memory, i, &confined};
        pthread_t thread{};
        if (pthread_create(&thread, nullptr, run_worker, &starts[i]) != 0) {
            ::_exit(1);
        }
    }
    pthread_barrier_wait(&confined);
    if (!confine_child()) {
        ::_exit(1);
    }
    pthread_barrier_wait(&confined);
    while (true) {
        ::syscall(SYS_futex, &confined, 0x80 /* FUTEX_WAIT_PRIVATE */, *reinterpret_cast<int*>(&confined), nullptr);
    }
}

} // namespace

Keeper::Keeper(Memory& memory) : memory_(memory) {
    for (std::uint32_t number = 0; number < memory.header().touched.load(); ++number) {
        if (const Slot& slot = memory.slots()[number]; slot.state.load() != kFree) {
            by_id_[slot.id] = number; // of the program before this one
        }
    }
}

void Keeper::start_child() {
    const std::uint64_t now = now_ns();
    if (child_started_ns_ != 0 && now - child_started_ns_ < kShortLifeNs) {
        const timespec pause{0, kPauseNs};
        (void)::nanosleep(&pause, nullptr);
    }
    child_started_ns_ = now_ns();
    for (std::uint32_t i = 0; i < memory_.header().threads; ++i) {
        int& epoll = memory_.header().epoll[i];
        if (epoll >= 0) {
            (void)::close(epoll); // with all that the dead child registered
        }
        epoll = ::epoll_create1(0);
    }
    const pid_t parent = ::getpid();
    // Like fork, but with one descriptor table for both: a connection handed to the parent is at once the child's, and
    // nothing that the child opens or holds ends with it.
    const auto pid =
        static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (pid == 0) {
        run_child(memory_, parent);
    }
    child_ = pid;
}

void Keeper::reap() {
    signalfd_siginfo info{};
    while (::read(signals_, &info, sizeof info) == sizeof info) {
    }
    int status = 0;
    while (true) {
        const pid_t pid = ::waitpid(-1, &status, WNOHANG);
        if (pid <= 0) {
            return;
        }
        if (pid == child_) {
            ++memory_.header().child_deaths;
            start_child();
        }
    }
}

void Keeper::serve_child() {
    std::uint64_t times = 0;
    (void)!::read(memory_.header().to_parent, &times, sizeof times);
    memory_.take_from_child([this](std::uint32_t number) {
        Slot& slot = memory_.slots()[number];
        if (slot.state.load() == kEnded) {
            finish(number);
            return;
        }
        const int reached = (slot.half[0].limit_told.load() | slot.half[1].limit_told.load() << 1) & ~slot.told;
        if (reached != 0) {
            slot.told = static_cast<std::uint8_t>(slot.told | reached);
            tell(number, WEFT_RELAY_CARRIED, WEFT_RELAY_REASON_KEY_LIMIT, static_cast<std::uint32_t>(reached));
        }
        if (slot.rekey_wanted.load() != 0 && (slot.told & kToldRekey) == 0) {
            slot.told |= kToldRekey;
            tell(number, WEFT_RELAY_CARRIED, WEFT_RELAY_REASON_KEY_UPDATE, slot.detail.load());
        }
        if (slot.held.load() != 0 && slot.hold_client >= 0) {
            answer(slot.hold_client, WEFT_RELAY_HOLD, slot.id, WEFT_RELAY_OK, slot.peer);
            slot.hold_client = -1;
        }
    });
}

int Keeper::run() {
    sigset_t mask;
    (void)::sigemptyset(&mask);
    (void)::sigaddset(&mask, SIGCHLD);
    (void)::sigaddset(&mask, SIGTERM);
    (void)::sigaddset(&mask, SIGINT);
    (void)::sigprocmask(SIG_BLOCK, &mask, nullptr);
    sigset_t children;
    (void)::sigemptyset(&children);
    (void)::sigaddset(&children, SIGCHLD);
    signals_ = ::signalfd(-1, &children, SFD_NONBLOCK | SFD_CLOEXEC);
    (void)::sigdelset(&mask, SIGCHLD);
    const int stop = ::signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals_ < 0 || stop < 0 || !confine_parent()) {
        std::perror("weft-relay: signals and seccomp");
        return 1;
    }
    Header& header = memory_.header();
    start_child();
    if (header.upgrading >= 0) {
        answer(std::exchange(header.upgrading, -1), WEFT_RELAY_UPGRADE, 0, WEFT_RELAY_OK);
    }
    for (std::uint32_t number = 0; number < header.touched.load(); ++number) {
        if (memory_.slots()[number].state.load() == kEnded) {
            finish(number);
        }
    }
    constexpr int kFixed = 4;
    pollfd wanted[kFixed + kMaxClients];
    while (true) {
        wanted[0] = {signals_, POLLIN, 0};
        wanted[1] = {stop, POLLIN, 0};
        wanted[2] = {header.to_parent, POLLIN, 0};
        wanted[3] = {header.listener, POLLIN, 0};
        for (std::size_t i = 0; i < kMaxClients; ++i) {
            const bool pending = header.watcher == static_cast<int>(i) && header.event_count > 0;
            wanted[kFixed + i] = {header.clients[i], static_cast<short>(pending ? POLLIN | POLLOUT : POLLIN), 0};
        }
        if (::poll(wanted, kFixed + kMaxClients, -1) < 0) {
            continue;
        }
        if (wanted[0].revents != 0) {
            reap();
        }
        if (wanted[1].revents != 0) {
            return 0; // the child dies with us, and every connection is reset
        }
        if (wanted[2].revents != 0) {
            serve_child();
        }
        if (wanted[3].revents != 0) {
            accept_client();
        }
        for (std::size_t i = 0; i < kMaxClients; ++i) {
            if (wanted[kFixed + i].revents != 0 && wanted[kFixed + i].fd == header.clients[i]) {
                serve(static_cast<int>(i));
            }
        }
        send_events();
    }
}

// The program that is installed now is asked first whether it knows this memory. Then the child is killed, which loses
// nothing, and the new program takes this one's place: process, descriptors and all.
void Keeper::upgrade(int client) {
    Header& header = memory_.header();
    const std::string layout = std::to_string(kLayout);
    char accepts[] = "--accepts-layout";
    char resume[] = "--resume";
    std::string file = std::to_string(memory_.fd());
    std::string number = layout;
    const pid_t asked = ::fork();
    if (asked == 0) {
        char* const arguments[] = {header.program, accepts, number.data(), nullptr};
        ::execv(header.program, arguments);
        ::_exit(1);
    }
    int status = -1;
    if (asked < 0 || ::waitpid(asked, &status, 0) != asked || status != 0) {
        answer(client, WEFT_RELAY_UPGRADE, 0, WEFT_RELAY_NOT_ACCEPTED);
        return;
    }
    if (child_ > 0) {
        (void)::kill(child_, SIGKILL);
        (void)::waitpid(child_, &status, 0);
    }
    header.upgrading = client;
    ++header.upgrades;
    char* const arguments[] = {header.program, resume, file.data(), nullptr};
    ::execv(header.program, arguments);
    --header.upgrades;
    header.upgrading = -1;
    start_child();
    answer(client, WEFT_RELAY_UPGRADE, 0, WEFT_RELAY_NOT_ACCEPTED);
}

} // namespace weft::relay
