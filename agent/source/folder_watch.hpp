// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// inotify on a tree of folders: which folder each watch descriptor means, and what the kernel reported, as events with
// whole paths. Knows nothing of manifests.
// Thread: control
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::source {

struct WatchEvent {
    std::string folder;
    std::string name;   ///< within the folder; empty: the folder itself
    std::uint32_t mask; ///< IN_*
};

class FolderWatch {
public:
    /// Error: EMFILE when no inotify instance is left.
    static Result<FolderWatch> open();

    [[nodiscard]] int fd() const { return fd_.get(); }
    /// Watches `folder`, again if it is watched already. Error: ENOENT, EACCES, ENOSPC (no watch left).
    Result<> add(const std::string& folder);
    /// Forgets `folder` and everything below it.
    void remove_tree(const std::string& folder);
    /// Forgets every folder that is not in `folders`.
    void keep_only(const std::set<std::string>& folders);
    /// What happened since; never blocks. Sets `overflow` when events were lost.
    Result<std::vector<WatchEvent>> drain(bool& overflow);

private:
    void forget(int descriptor);

    UniqueFd fd_;
    std::map<int, std::string> folders_;
    std::map<std::string, int> descriptors_;
};

} // namespace weft::source
