// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weft-relay: carries connections between two sockets that somebody else has set up. See docs/ktls.md.
#include <getopt.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "ktls/message/message.hpp"
#include "ktls/relay/keeper.hpp"
#include "ktls/relay/memory.hpp"
#include "ktls/relay/sandbox.hpp"

namespace {

using namespace weft::relay;

constexpr std::uint32_t kOtherDescriptors = 128; // clients, eventfds, one batch of messages under way

int usage() {
    std::fputs(
        "usage: weft-relay --socket PATH [--threads N] [--pipes N] [--descriptors N]\n"
        "  Carries connections for weftd. N of pipes bounds the directions in which data can be in flight at once,\n"
        "  N of descriptors what it may open in all; both follow from the limit of open files by default.\n",
        stderr);
    return 2;
}

int fail(const char* what) {
    std::fprintf(stderr, "weft-relay: %s: %s\n", what, std::strerror(errno));
    return 1;
}

// A positive number; 0 for anything else.
std::uint32_t number(const char* text) {
    char* end = nullptr;
    const unsigned long parsed = std::strtoul(text, &end, 10);
    return *end == '\0' && parsed <= 16'777'216 ? static_cast<std::uint32_t>(parsed) : 0;
}

// A socket that nobody answers on is a leftover; one that somebody serves is not ours to take.
int listen_on(const char* path) {
    sockaddr_un address{};
    const auto* where = reinterpret_cast<const sockaddr*>(&address);
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (fd < 0 || !weft::ktls::unix_address(path, address)) {
        return -1;
    }
    errno = EADDRINUSE;
    if (::connect(fd, where, sizeof address) == 0) {
        return -1;
    }
    (void)::unlink(path);
    const mode_t before = ::umask(0177);
    const bool bound = ::bind(fd, where, sizeof address) == 0;
    (void)::umask(before);
    return bound && ::listen(fd, kMostClients) == 0 ? fd : -1;
}

// What is not given, 0, follows from the machine.
int start(const char* path, std::uint32_t threads, std::uint32_t pipes, std::uint32_t descriptors) {
    rlimit files{};
    (void)::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
    const auto limit =
        static_cast<std::uint32_t>(std::min<rlim_t>(files.rlim_cur, descriptors != 0 ? descriptors : 2 * kMostSlots));
    // A pipe costs two descriptors, a connection two; pipes are few, as only data in flight needs one.
    pipes = pipes != 0 ? std::min(pipes, kMostPipes) : std::clamp(limit / 16, 16U, kMostPipes);
    if (limit < 2 * pipes + kOtherDescriptors + 2) {
        errno = EMFILE;
        return fail("too few descriptors for so many pipes");
    }
    const std::uint32_t slots = std::min((limit - 2 * pipes - kOtherDescriptors) / 2, kMostSlots);
    const auto cores = static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
    threads = std::clamp(threads != 0 ? threads : cores, 1U, std::min(kMostThreads, pipes));
    Shared* const shared = Shared::create(slots, pipes, threads);
    if (shared == nullptr) {
        return fail("shared memory");
    }
    if (::readlink("/proc/self/exe", shared->program, sizeof shared->program - 1) <= 0) {
        return fail("own path");
    }
    shared->listener = listen_on(path);
    if (shared->listener < 0) {
        return fail(path);
    }
    shared->to_parent = ::eventfd(0, EFD_NONBLOCK);
    std::ranges::generate(shared->to_child, [] { return ::eventfd(0, EFD_NONBLOCK); });
    return drop_capabilities() ? Keeper(*shared).run() : fail("capabilities");
}

// What a running weft-relay calls on its successor: first whether it can take over, then that it does.
int resume(int file) {
    Shared* const shared = Shared::resume(file);
    return shared != nullptr ? Keeper(*shared).run() : fail("taking over");
}

} // namespace

int main(int count, char** arguments) {
    static constexpr option kKnown[] = {
        {"socket", required_argument, nullptr, 's'},
        {"threads", required_argument, nullptr, 't'},
        {"pipes", required_argument, nullptr, 'p'},
        {"descriptors", required_argument, nullptr, 'd'},
        {"accepts-layout", required_argument, nullptr, 'a'},
        {"resume", required_argument, nullptr, 'r'},
        {nullptr, 0, nullptr, 0},
    };
    const char* socket = nullptr;
    std::map<int, std::uint32_t> numbers;
    for (int name = 0; (name = ::getopt_long(count, arguments, "", kKnown, nullptr)) != -1;) {
        if (name == '?') {
            return usage();
        }
        if (name == 's') {
            socket = optarg;
        } else if (numbers[name] = number(optarg); numbers[name] == 0) {
            return usage();
        }
    }
    if (numbers.contains('a')) {
        return numbers['a'] == kLayout ? 0 : 1;
    }
    if (numbers.contains('r')) {
        return resume(static_cast<int>(numbers['r']));
    }
    return socket == nullptr || optind != count ? usage() : start(socket, numbers['t'], numbers['p'], numbers['d']);
}
