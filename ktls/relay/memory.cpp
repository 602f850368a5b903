// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Makes, maps and takes over the memory file.
#include "ktls/relay/memory.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace weft::relay {
namespace {

Shared* map(int file) {
    void* const base = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    return base == MAP_FAILED ? nullptr : static_cast<Shared*>(base);
}

void signal_event(int event) {
    const std::uint64_t one = 1;
    (void)!::write(event, &one, sizeof one); // cannot fill up: the reader takes it all
}

} // namespace

Shared* Shared::create(std::uint32_t room, std::uint32_t pool, std::uint32_t threads) {
    // Without MFD_CLOEXEC: the file must outlive the program.
    const int file = ::memfd_create("weft-relay", 0);
    Shared* const shared = file >= 0 && ::ftruncate(file, sizeof(Shared)) == 0 ? map(file) : nullptr;
    if (shared != nullptr) {
        shared->layout = kLayout;
        shared->threads = threads;
        shared->room = room;
        shared->pool = pool;
        shared->file = file;
        shared->watcher = -1;
        shared->upgrading = -1;
        std::ranges::fill(shared->clients, -1);
        std::ranges::fill(shared->epoll, -1);
        std::ranges::fill(shared->pipes, Pipe{-1, -1});
    }
    return shared;
}

Shared* Shared::resume(int file) {
    struct stat found{};
    if (::fstat(file, &found) != 0) {
        return nullptr;
    }
    Shared* const shared = found.st_size == sizeof(Shared) ? map(file) : nullptr;
    if (shared == nullptr || shared->layout != kLayout) {
        errno = EPROTO;
        return nullptr;
    }
    return shared;
}

void Shared::tell_child(const Slot& slot) {
    const std::uint32_t number = number_of(slot);
    for_child[number % threads].set(number);
    signal_event(to_child[number % threads]);
}

void Shared::tell_parent(const Slot& slot) {
    for_parent.set(number_of(slot));
    signal_event(to_parent);
}

} // namespace weft::relay
