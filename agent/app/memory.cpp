// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/memory.hpp"

#include <malloc.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdio>
#include <fstream>
#include <string>

namespace weft::app {

void limit_heaps() {
    (void)mallopt(M_ARENA_MAX, 2); // refused: more memory, nothing else
}

void release_startup_memory() {
    (void)malloc_trim(0); // tells only whether there was something to give back
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        void* begin = nullptr;
        void* end = nullptr;
        char mode[5] = {};
        // Code only: it is position independent and never written, so what is dropped is what the file holds. Read-only
        // data is not that: relocation wrote to it before it became read-only.
        if (std::sscanf(line.c_str(), "%p-%p %4s", &begin, &end, mode) == 3 && std::string(mode) == "r-xp" &&
            line.find('/') != std::string::npos) {
            const auto size = static_cast<char*>(end) - static_cast<char*>(begin);
            (void)::madvise(begin, static_cast<std::size_t>(size), MADV_DONTNEED); // a hint
        }
    }
}

} // namespace weft::app
