// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/identity/small_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include "weft/base/unique_fd.hpp"

namespace weft::identity {

Result<std::string> read_small_file(const std::string& path) {
    // Not blocking, so that a pipe in its place is an error and no hang.
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid()) {
        return system_failure("open {}", path);
    }
    struct stat found{};
    if (::fstat(fd.get(), &found) != 0 || !S_ISREG(found.st_mode)) {
        return invalid("{} is no regular file", path);
    }
    std::string text(kMostFileBytes + 1, '\0');
    std::size_t size = 0;
    while (size < text.size()) {
        const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return system_failure("read {}", path);
        }
        if (got == 0) {
            break;
        }
        size += static_cast<std::size_t>(got);
    }
    if (size > kMostFileBytes) {
        return failure(EFBIG, "{} is longer than {} bytes", path, kMostFileBytes);
    }
    text.resize(size);
    return text;
}

} // namespace weft::identity
