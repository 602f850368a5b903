// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// weft-relay: carries connections between two sockets that somebody else has set up. See docs/ktls.md.
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "ktls/relay/keeper.hpp"
#include "ktls/relay/memory.hpp"
#include "ktls/relay/sandbox.hpp"

namespace {

using namespace weft::relay;

constexpr std::uint32_t kOtherDescriptors = 128; // clients, eventfds, one batch of messages under way
constexpr std::uint32_t kMostSlots = 131072;
constexpr std::uint32_t kMostPipes = 4096;

struct Options {
    const char* socket = nullptr;
    std::uint32_t threads = 0;
    std::uint32_t pipes = 0;
    std::uint32_t descriptors = 0;
};

int usage() {
    std::fputs(
        "usage: weft-relay --socket PATH [--threads N] [--pipes N] [--descriptors N]\n"
        "  Carries connections for weftd. N of pipes bounds the directions in which data can be in flight at once,\n"
        "  N of descriptors what it may open in all; both follow from the limit of open files by default.\n",
        stderr);
    return 2;
}

bool number(const char* text, std::uint32_t& value) {
    char* end = nullptr;
    const unsigned long parsed = std::strtoul(text, &end, 10);
    value = static_cast<std::uint32_t>(parsed);
    return *text != '\0' && *end == '\0' && parsed > 0 && parsed <= 16'777'216;
}

int fail(const char* what) {
    std::fprintf(stderr, "weft-relay: %s: %s\n", what, std::strerror(errno));
    return 1;
}

// A socket that nobody answers on is a leftover; one that somebody serves is not ours to take.
int listen_on(const char* path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::size_t length = std::strlen(path);
    if (length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    std::memcpy(address.sun_path, path, length);
    const auto* where = reinterpret_cast<const sockaddr*>(&address);
    const int fd = ::socket(AF_UNIX, SOCK_SEQPACKET, 0);
    if (fd < 0) {
        return -1;
    }
    if (::connect(fd, where, sizeof address) == 0) {
        errno = EADDRINUSE;
        return -1;
    }
    (void)::unlink(path);
    const mode_t before = ::umask(0177);
    const bool bound = ::bind(fd, where, sizeof address) == 0;
    (void)::umask(before);
    return bound && ::listen(fd, kMaxClients) == 0 ? fd : -1;
}

int start(const Options& options) {
    rlimit files{};
    (void)::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    (void)::setrlimit(RLIMIT_NOFILE, &files);
    const auto limit = static_cast<std::uint32_t>(
        std::min<rlim_t>(files.rlim_cur, options.descriptors != 0 ? options.descriptors : 2 * kMostSlots));
    // A pipe costs two descriptors, a connection two; pipes are few, as only data in flight needs one.
    const std::uint32_t pipes = options.pipes != 0 ? options.pipes : std::clamp(limit / 16, 16U, kMostPipes);
    if (limit < 2 * pipes + kOtherDescriptors + 2) {
        errno = EMFILE;
        return fail("too few descriptors for so many pipes");
    }
    const std::uint32_t slots = std::min((limit - 2 * pipes - kOtherDescriptors) / 2, kMostSlots);
    const auto cores = static_cast<std::uint32_t>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
    const std::uint32_t threads =
        std::clamp(options.threads != 0 ? options.threads : cores, 1U, std::min<std::uint32_t>(kMaxThreads, pipes));
    Memory memory;
    if (!memory.create(slots, pipes, threads)) {
        return fail("shared memory");
    }
    Header& header = memory.header();
    const auto size = ::readlink("/proc/self/exe", header.program, sizeof header.program - 1);
    if (size <= 0) {
        return fail("own path");
    }
    header.listener = listen_on(options.socket);
    if (header.listener < 0) {
        return fail(options.socket);
    }
    header.to_parent = ::eventfd(0, EFD_NONBLOCK);
    for (std::uint32_t i = 0; i < threads; ++i) {
        header.to_child[i] = ::eventfd(0, EFD_NONBLOCK);
    }
    if (!drop_capabilities()) {
        return fail("capabilities");
    }
    return Keeper(memory).run();
}

int resume(const char* text) {
    std::uint32_t fd = 0;
    Memory memory;
    if (!number(text, fd) || !memory.resume(static_cast<int>(fd))) {
        return fail("taking over"); // --accepts-layout was asked before, so this does not happen
    }
    return Keeper(memory).run();
}

} // namespace

int main(int count, char** arguments) {
    Options options;
    for (int i = 1; i + 1 < count; i += 2) {
        const std::string_view name = arguments[i];
        const char* value = arguments[i + 1];
        if (name == "--accepts-layout" && count == 3) {
            std::uint32_t layout = 0;
            return number(value, layout) && layout == kLayout ? 0 : 1;
        }
        if (name == "--resume" && count == 3) {
            return resume(value);
        }
        if (name == "--socket") {
            options.socket = value;
        } else if (!(name == "--threads" && number(value, options.threads)) &&
                   !(name == "--pipes" && number(value, options.pipes)) &&
                   !(name == "--descriptors" && number(value, options.descriptors))) {
            return usage();
        }
    }
    return options.socket == nullptr || count % 2 == 0 ? usage() : start(options);
}
