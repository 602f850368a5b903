// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A folder of Kubernetes manifests as a source: which files it has, which of them changed, and what to do when the
// folder itself goes away. Reads `*.yaml`, `*.yml` and `*.json` in it and in its subfolders; names that begin with
// '.' are skipped, so the `..data` layout of a mounted ConfigMap works through its visible symbolic links.
// Thread: control
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/store/store.hpp"
#include "weft/base/result.hpp"

namespace weft::source {

class ManifestFolder {
public:
    /// Starts to watch `dir`. Nothing is read yet: call load_all(). Errors: ENOENT, ENOTDIR, EACCES ... of the
    /// folder; EMFILE, ENOSPC when inotify has no instance or watch left.
    static Result<ManifestFolder> open(const std::string& dir);

    ManifestFolder(ManifestFolder&&) noexcept;
    ManifestFolder& operator=(ManifestFolder&&) noexcept;
    ManifestFolder(const ManifestFolder&) = delete;
    ManifestFolder& operator=(const ManifestFolder&) = delete;
    ~ManifestFolder();

    /// Pollable (EPOLLIN): read() has something to do. Stays the same for the life of this object.
    [[nodiscard]] int fd() const;

    /// Reads every file into `store`. Error: the folder cannot be listed; what the store has then stays.
    Result<> load_all(store::Store& store);
    /// Handles what happened since; never blocks. True when a file was read or dropped. Files that did not change are
    /// not parsed again. Error: the folder went away, see trouble(); the store keeps its last good state.
    Result<bool> read(store::Store& store);
    /// For a timer: compares every file's size, times and inode with what was read last, and comes back to a folder
    /// that had gone. True when a file was read or dropped.
    Result<bool> rescan(store::Store& store);

    /// Why the folder cannot be watched or read at present; nothing while all is well.
    [[nodiscard]] std::optional<Error> trouble() const;

private:
    struct State;
    explicit ManifestFolder(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

} // namespace weft::source
