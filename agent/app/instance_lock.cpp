// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/instance_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>

namespace weft::app {

Result<UniqueFd> lock_folder(const std::string& key, const std::string& folder) {
    UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.valid()) {
        return system_failure("{} {}: open", key, folder);
    }
    // On the folder itself: a BPF file system holds no ordinary files.
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EWOULDBLOCK) {
            return failure(EBUSY, "another weftd is at work with {} {}: stop it, or give this one another {}", key,
                           folder, key);
        }
        return system_failure("{} {}: flock", key, folder);
    }
    return fd;
}

} // namespace weft::app
