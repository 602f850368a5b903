// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A file descriptor that somebody owns. Borrowers take `int`; only an owner closes.
#pragma once

#include <unistd.h>

#include <utility>

namespace weft {

class UniqueFd {
public:
    UniqueFd() noexcept = default;
    /// Takes ownership of `fd`; -1 is "none".
    explicit UniqueFd(int fd) noexcept : fd_(fd) {}
    UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    UniqueFd& operator=(UniqueFd&& other) noexcept {
        if (this != &other) {
            reset(std::exchange(other.fd_, -1));
        }
        return *this;
    }
    UniqueFd(const UniqueFd&) = delete;
    UniqueFd& operator=(const UniqueFd&) = delete;
    ~UniqueFd() { reset(); }

    /// The descriptor, still owned here; -1 when none.
    [[nodiscard]] int get() const noexcept { return fd_; }
    [[nodiscard]] bool valid() const noexcept { return fd_ >= 0; }
    /// Gives the descriptor away.
    [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
    void reset(int fd = -1) noexcept {
        if (fd_ >= 0) {
            (void)::close(fd_); // a failed close cannot be mended: Linux has released the descriptor already
        }
        fd_ = fd;
    }

private:
    int fd_ = -1;
};

} // namespace weft
