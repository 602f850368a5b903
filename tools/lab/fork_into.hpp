// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A child of a single-threaded command that does our own work inside a pod: in its cgroup and network namespace, and
// never outliving its parent.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::lab {

/// Where a pod, node or outside host is.
struct Place {
    std::string netns = {};  ///< path
    std::string cgroup = {}; ///< absolute path

    friend auto operator<=>(const Place&, const Place&) = default;
};

/// A running child; the destructor kills and reaps it.
class Helper {
public:
    Helper(pid_t pid, UniqueFd output) : pid_(pid), output_(std::move(output)) {}
    Helper(Helper&& other) noexcept : pid_(std::exchange(other.pid_, -1)), output_(std::move(other.output_)) {}
    Helper& operator=(Helper&&) = delete;
    Helper(const Helper&) = delete;
    ~Helper();

    /// What the child writes; end of file when it ended.
    [[nodiscard]] int output() const { return output_.get(); }

private:
    pid_t pid_;
    UniqueFd output_;
};

/// Forks; the child enters `place` and calls `work` with the descriptor to write its answers to. Errors inside the
/// child are written as a line "error TEXT".
Result<Helper> fork_into(const Place& place, const std::function<void(int output)>& work);

/// Writes all of `text`; a reader who left is no error worth hearing.
void write_all(int fd, const std::string& text);

} // namespace weft::lab
