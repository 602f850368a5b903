// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Network namespaces for the chain test. They have no names, so a killed test leaves none behind.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::test {

/// Moves the calling thread (and the processes that it starts) into a fresh namespace with loopback up.
Result<> enter_new_netns();

/// Cookie of the namespace at a path. Error: errno.
Result<std::uint64_t> cookie_of_netns(const std::string& path);

/// A pod's namespace; it lives until close() or the end of this object.
class PodNetns {
public:
    static Result<PodNetns> create();
    /// /proc path that other processes can open.
    [[nodiscard]] std::string path() const;
    /// Runs `work` in a thread inside the namespace.
    void run(const std::function<void()>& work) const;
    void close() { fd_.reset(); }

private:
    explicit PodNetns(UniqueFd fd) : fd_(std::move(fd)), number_(fd_.get()) {}

    UniqueFd fd_;
    int number_;
};

} // namespace weft::test
