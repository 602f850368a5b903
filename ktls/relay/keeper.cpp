// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The parent's loop, its child, and its rebirth.
#include "ktls/relay/keeper.hpp"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <ctime>
#include <string>
#include <utility>

#include "ktls/relay/sandbox.hpp"
#include "ktls/relay/worker.hpp"

namespace weft::relay {
namespace {

// A child that dies at once may do so again: not faster than this, so that the parent stays reachable.
constexpr std::uint64_t kShortLifeNs = 20'000'000;

void* run_worker(void* worker) {
    if (!confine_thread()) {
        ::_exit(1);
    }
    static_cast<Worker*>(worker)->run();
}

[[noreturn]] void run_child(Shared& shared, pid_t parent) {
    // A parent that is gone has closed nothing yet as long as we live: its descriptors are ours, too.
    if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) {
        ::_exit(1);
    }
    sigset_t all;
    (void)::sigfillset(&all);
    (void)::sigprocmask(SIG_BLOCK, &all, nullptr);
    for (std::uint32_t thread = 1; thread < shared.threads; ++thread) {
        pthread_t made{};
        if (::pthread_create(&made, nullptr, run_worker, new Worker(shared, thread)) != 0) {
            ::_exit(1);
        }
    }
    run_worker(new Worker(shared, 0));
    ::_exit(1);
}

} // namespace

std::uint64_t now_ns() {
    timespec now{};
    (void)::clock_gettime(CLOCK_BOOTTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

Keeper::Keeper(Shared& shared) : shared_(shared) {
    for (const Slot& slot : shared.used()) {
        if (slot.state.load() != kFree) {
            by_id_[slot.id] = shared.number_of(slot); // of the program before this one
        }
    }
}

void Keeper::start_child() {
    if (child_started_ns_ != 0 && now_ns() - child_started_ns_ < kShortLifeNs) {
        const timespec pause{0, kShortLifeNs};
        (void)::nanosleep(&pause, nullptr);
    }
    child_started_ns_ = now_ns();
    for (std::uint32_t thread = 0; thread < shared_.threads; ++thread) {
        if (const int old = std::exchange(shared_.epoll[thread], ::epoll_create1(0)); old >= 0) {
            (void)::close(old); // with all that the dead child registered
        }
    }
    const pid_t parent = ::getpid();
    // Like fork, but with one descriptor table for both: a connection handed to the parent is at once the child's, and
    // nothing that the child opens or holds ends with it.
    child_ = static_cast<pid_t>(::syscall(SYS_clone, CLONE_FILES | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    if (child_ == 0) {
        run_child(shared_, parent);
    }
    for (Slot& slot : shared_.used()) {
        serve_child(slot); // what the child before has written down, and perhaps not told
    }
}

void Keeper::serve_child(Slot& slot) {
    if (slot.state.load() == kEnded) {
        return finish(slot);
    }
    if (slot.state.load() != kCarried) {
        return;
    }
    const int news = slot.news.load() & ~slot.told;
    slot.told = static_cast<std::uint8_t>(slot.told | news);
    if (const int reached = news & (WEFT_RELAY_NEW_SEND_KEY | WEFT_RELAY_NEW_RECEIVE_KEY); reached != 0) {
        tell(slot, WEFT_RELAY_CARRIED, WEFT_RELAY_REASON_KEY_LIMIT, static_cast<std::uint32_t>(reached));
    }
    if ((news & kPeerRekeyed) != 0) {
        tell(slot, WEFT_RELAY_CARRIED, WEFT_RELAY_REASON_KEY_UPDATE, slot.detail.load());
    }
    if (slot.hold_client >= 0 && slot.is_held()) {
        reply_fd_ = slot.fds[kPeer];
        answer(std::exchange(slot.hold_client, std::int8_t{-1}), WEFT_RELAY_HOLD, slot.id, WEFT_RELAY_OK);
    }
}

int Keeper::run() {
    sigset_t mask;
    (void)::sigemptyset(&mask);
    for (const int signal : {SIGCHLD, SIGTERM, SIGINT}) {
        (void)::sigaddset(&mask, signal);
    }
    (void)::sigprocmask(SIG_BLOCK, &mask, nullptr);
    const int signals = ::signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals < 0 || !confine_parent()) {
        std::perror("weft-relay: signals and seccomp");
        return 1;
    }
    start_child();
    if (shared_.upgrading >= 0) {
        answer(std::exchange(shared_.upgrading, -1), WEFT_RELAY_UPGRADE, 0, WEFT_RELAY_OK);
    }
    constexpr int kFixed = 3;
    pollfd wanted[kFixed + kMostClients];
    while (true) {
        wanted[0] = {signals, POLLIN, 0};
        wanted[1] = {shared_.to_parent, POLLIN, 0};
        wanted[2] = {shared_.listener, POLLIN, 0};
        for (int i = 0; i < static_cast<int>(kMostClients); ++i) {
            const bool pending = shared_.watcher == i && shared_.event_count > 0;
            wanted[kFixed + i] = {shared_.clients[i], static_cast<short>(pending ? POLLIN | POLLOUT : POLLIN), 0};
        }
        if (::poll(wanted, std::size(wanted), -1) < 0) {
            continue;
        }
        signalfd_siginfo signal{};
        while (::read(signals, &signal, sizeof signal) == sizeof signal) {
            if (signal.ssi_signo != SIGCHLD) {
                return 0; // the child dies with us, and every connection is reset
            }
        }
        if (::waitpid(child_, nullptr, WNOHANG) == child_) {
            ++shared_.child_deaths;
            start_child();
        }
        if (wanted[1].revents != 0) {
            std::uint64_t times = 0;
            (void)!::read(shared_.to_parent, &times, sizeof times);
            shared_.for_parent.take(shared_.touched.load(),
                                    [this](std::uint32_t number) { serve_child(shared_.slots[number]); });
        }
        if (wanted[2].revents != 0) {
            accept_client();
        }
        for (int i = 0; i < static_cast<int>(kMostClients); ++i) {
            if (wanted[kFixed + i].revents != 0 && wanted[kFixed + i].fd == shared_.clients[i]) {
                serve(i);
            }
        }
        send_events();
    }
}

// The program that is installed now is asked first whether it knows this memory. Then the child is killed, which loses
// nothing, and the new program takes this one's place: process, descriptors and all.
std::uint16_t Keeper::upgrade(int client, Request&) {
    std::string accepts = "--accepts-layout";
    std::string resume = "--resume";
    std::string layout = std::to_string(kLayout);
    std::string file = std::to_string(shared_.file);
    const pid_t asked = ::fork();
    if (asked == 0) {
        char* const arguments[] = {shared_.program, accepts.data(), layout.data(), nullptr};
        ::execv(shared_.program, arguments);
        ::_exit(1);
    }
    int status = -1;
    if (asked < 0 || ::waitpid(asked, &status, 0) != asked || status != 0) {
        return WEFT_RELAY_NOT_ACCEPTED;
    }
    if (child_ > 0) {
        (void)::kill(child_, SIGKILL);
        (void)::waitpid(child_, nullptr, 0);
    }
    shared_.upgrading = client;
    ++shared_.upgrades;
    char* const arguments[] = {shared_.program, resume.data(), file.data(), nullptr};
    ::execv(shared_.program, arguments);
    --shared_.upgrades;
    shared_.upgrading = -1;
    start_child();
    return WEFT_RELAY_NOT_ACCEPTED;
}

} // namespace weft::relay
