// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Turns folder events into files to read and files to drop. Whether a file is there is always asked of the file system,
// never concluded from the order of events.
#include "agent/source/manifest_folder.hpp"

#include <dirent.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "agent/source/folder_watch.hpp"
#include "agent/source/manifest_file.hpp"

namespace weft::source {
namespace {

/// Deeper than this is no manifests folder, or a bind mount of itself.
constexpr int kMaxFolderDepth = 16;

using FolderId = std::pair<dev_t, ino_t>;

std::optional<FolderId> folder_id(const std::string& path) {
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
        return {};
    }
    return FolderId{status.st_dev, status.st_ino};
}

bool is_below(const std::string& path, const std::string& folder) {
    return path.size() > folder.size() && path.starts_with(folder) && path[folder.size()] == '/';
}

/// A link, or a further name of a file: it appears whole, no writer will close it under this name.
bool appears_whole(const std::string& path) {
    struct stat status{};
    return ::lstat(path.c_str(), &status) == 0 &&
           (S_ISLNK(status.st_mode) || (S_ISREG(status.st_mode) && status.st_nlink > 1));
}

/// The tree as it is now.
struct Listing {
    std::set<std::string> files;
    std::set<std::string> folders;
    std::set<std::string> unreadable; ///< folders that exist but cannot be listed: what they held is not gone
    std::optional<Error> trouble; ///< the first fault met
};

/// Names present under `path` that stand for a file or a dangling link.
bool stands_for_file(const dirent& entry, const std::string& path) {
    struct stat status{};
    return entry.d_type == DT_REG ||
           (::lstat(path.c_str(), &status) == 0 && (S_ISREG(status.st_mode) || S_ISLNK(status.st_mode)));
}

bool is_real_folder(const dirent& entry, const std::string& path) {
    struct stat status{};
    return entry.d_type == DT_DIR ||
           (entry.d_type == DT_UNKNOWN && ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode));
}

} // namespace

struct ManifestFolder::State {
    std::string root;
    FolderId root_id;
    FolderWatch watch;
    std::map<std::string, std::optional<FileMark>> files; ///< read so far; no mark: it could not be looked at
    /// Files whose writer has not closed them yet, with the mark that the last scan saw.
    std::map<std::string, std::optional<FileMark>> written;
    std::optional<Error> trouble;
    bool gone = false; ///< the folder went away, and nothing was found where it was since

    void list(const std::string& folder, int depth, Listing& listing);
    Result<bool> scan(store::Store& store, bool all);
    void read_file(store::Store& store, const std::string& path);
    bool refresh(store::Store& store, const std::string& path, bool even_if_same);
    bool drop(store::Store& store, const std::string& path);
    bool drop_below(store::Store& store, const std::string& folder);
    bool take_folder(store::Store& store, const std::string& folder);
    bool refresh_links(store::Store& store);
    bool still_written(const std::string& path);
    bool apply(store::Store& store, const WatchEvent& event, std::set<std::string>& changed,
               std::set<std::string>& dropped);
    [[nodiscard]] std::optional<Error> root_fault() const;
};

// Watch first, then list: what appears in between is seen twice rather than never.
void ManifestFolder::State::list(const std::string& folder, int depth, Listing& listing) {
    const auto note = [&](Error error) {
        if (!listing.trouble) {
            listing.trouble = std::move(error);
        }
    };
    if (auto watched = watch.add(folder); !watched) {
        note(watched.error());
    }
    listing.folders.insert(folder);
    DIR* stream = ::opendir(folder.c_str());
    if (stream == nullptr) {
        note(Error(errno, fmt::format("list folder {}: {}", folder, std::strerror(errno))));
        listing.unreadable.insert(folder);
        return;
    }
    std::vector<std::string> below;
    while (const dirent* entry = ::readdir(stream)) {
        const std::string_view name = entry->d_name;
        const std::string path = fmt::format("{}/{}", folder, name);
        if (name.starts_with('.')) {
            continue;
        }
        if (is_real_folder(*entry, path)) {
            below.push_back(path);
        } else if (is_manifest_name(name) && stands_for_file(*entry, path)) {
            listing.files.insert(path);
        }
    }
    (void)::closedir(stream); // fails only for a bad stream
    for (const std::string& path : below) {
        if (depth < kMaxFolderDepth) {
            list(path, depth + 1, listing);
        } else {
            note(Error(ELOOP, fmt::format("folder {} is nested deeper than {} levels: it is not read", path,
                                          kMaxFolderDepth)));
        }
    }
}

std::optional<Error> ManifestFolder::State::root_fault() const {
    const auto id = folder_id(root);
    if (!id) {
        return Error(
            ENOENT,
            fmt::format("manifests folder {} is gone: its last good objects stay in force until it comes back", root));
    }
    if (*id != root_id) {
        return Error(ESTALE,
                     fmt::format("manifests folder {} was replaced or unmounted: its last good objects stay in force "
                                 "until the folder there holds manifests",
                                 root));
    }
    return {};
}

void ManifestFolder::State::read_file(store::Store& store, const std::string& path) {
    files[path] = mark_of(path); // before reading: a change meanwhile differs from this mark and is read again
    store.replace_file(path, read_manifest(path));
}

bool ManifestFolder::State::refresh(store::Store& store, const std::string& path, bool even_if_same) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        return drop(store, path);
    }
    const auto mark = mark_of(path);
    const auto known = files.find(path);
    if (!mark && known == files.end() && !S_ISLNK(status.st_mode)) {
        return false; // a pipe, a socket: never was a manifest
    }
    if (!even_if_same && known != files.end() && known->second == mark) {
        return false;
    }
    read_file(store, path);
    return true;
}

bool ManifestFolder::State::drop(store::Store& store, const std::string& path) {
    written.erase(path);
    if (files.erase(path) == 0) {
        return false;
    }
    store.remove_file(path);
    return true;
}

bool ManifestFolder::State::drop_below(store::Store& store, const std::string& folder) {
    std::vector<std::string> paths;
    for (const auto& [path, mark] : files) {
        if (is_below(path, folder)) {
            paths.push_back(path);
        }
    }
    for (const std::string& path : paths) {
        drop(store, path);
    }
    return !paths.empty();
}

bool ManifestFolder::State::take_folder(store::Store& store, const std::string& folder) {
    if (!folder_id(folder)) {
        return false; // gone again; its own events follow
    }
    Listing listing;
    list(folder, 1, listing);
    bool changed = false;
    for (const std::string& path : listing.files) {
        changed |= refresh(store, path, false);
    }
    if (listing.trouble) {
        trouble = listing.trouble;
    }
    return changed;
}

// A mounted ConfigMap changes by one rename of a hidden link; the visible links themselves see no event.
bool ManifestFolder::State::refresh_links(store::Store& store) {
    std::vector<std::string> links;
    for (const auto& [path, mark] : files) {
        struct stat status{};
        if (::lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode)) {
            links.push_back(path);
        }
    }
    bool changed = false;
    for (const std::string& path : links) {
        changed |= refresh(store, path, false);
    }
    return changed;
}

Result<bool> ManifestFolder::State::scan(store::Store& store, bool all) {
    const auto id = folder_id(root);
    if (!id) {
        gone = true;
        trouble = root_fault();
        return std::unexpected(*trouble);
    }
    gone = gone || *id != root_id;
    Listing listing;
    list(root, 0, listing);
    if (listing.unreadable.contains(root)) {
        trouble = listing.trouble;
        return std::unexpected(*trouble);
    }
    watch.keep_only(listing.folders);
    if (gone && listing.files.empty() && !files.empty()) {
        // An empty mount point is no order to delete everything.
        trouble = Error(
            ESTALE, fmt::format("manifests folder {} is empty since it went away: the last good objects stay in force "
                                "until it holds manifests",
                                root));
        return false;
    }
    gone = false;
    root_id = *id;
    trouble = listing.trouble;
    bool changed = false;
    std::vector<std::string> vanished;
    for (const auto& [path, mark] : files) {
        const bool hidden_from_us = std::any_of(listing.unreadable.begin(), listing.unreadable.end(),
                                                [&](const std::string& folder) { return is_below(path, folder); });
        if (!listing.files.contains(path) && !hidden_from_us) {
            vanished.push_back(path);
        }
    }
    for (const std::string& path : vanished) {
        changed |= drop(store, path);
    }
    for (const std::string& path : listing.files) {
        if (!still_written(path)) {
            changed |= refresh(store, path, all);
        }
    }
    return changed;
}

// The writer's close is an event of its own. But some ways to make a file end without one (linkat of an unnamed file),
// so a file that did not change from one scan to the next counts as whole.
bool ManifestFolder::State::still_written(const std::string& path) {
    const auto found = written.find(path);
    if (found == written.end()) {
        return false;
    }
    const auto mark = mark_of(path);
    if (found->second == mark) {
        written.erase(found);
        return false;
    }
    found->second = mark;
    return true;
}

bool ManifestFolder::State::apply(store::Store& store, const WatchEvent& event, std::set<std::string>& changed,
                                  std::set<std::string>& dropped) {
    const std::string path = fmt::format("{}/{}", event.folder, event.name);
    const bool appeared = (event.mask & (IN_CREATE | IN_MOVED_TO)) != 0;
    const bool left = (event.mask & (IN_DELETE | IN_MOVED_FROM)) != 0;
    if (event.name.empty()) { // about the folder itself; a subfolder's parent reports it by name, too
        return event.folder == root && (event.mask & IN_ATTRIB) != 0 && take_folder(store, root);
    }
    if (event.name.starts_with('.')) {
        return appeared && refresh_links(store);
    }
    if ((event.mask & IN_ISDIR) != 0) {
        if (left) {
            watch.remove_tree(path);
            return drop_below(store, path);
        }
        return (appeared || (event.mask & IN_ATTRIB) != 0) && take_folder(store, path);
    }
    if (!is_manifest_name(event.name)) {
        return false;
    }
    if (left) {
        written.erase(path);
        changed.erase(path);
        dropped.insert(path);
    } else if ((event.mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) != 0) {
        written.erase(path);
        changed.insert(path);
    } else if ((event.mask & IN_CREATE) != 0) {
        if (appears_whole(path)) {
            changed.insert(path);
        } else {
            written.try_emplace(path);
        }
    } else if ((event.mask & IN_MODIFY) != 0) {
        written.try_emplace(path);
    } else if ((event.mask & IN_ATTRIB) != 0 && !written.contains(path)) {
        changed.insert(path); // it may have become readable
    }
    return false;
}

ManifestFolder::ManifestFolder(std::unique_ptr<State> state) : state_(std::move(state)) {}
ManifestFolder::ManifestFolder(ManifestFolder&&) noexcept = default;
ManifestFolder& ManifestFolder::operator=(ManifestFolder&&) noexcept = default;
ManifestFolder::~ManifestFolder() = default;

Result<ManifestFolder> ManifestFolder::open(const std::string& dir) {
    auto state = std::make_unique<State>();
    state->root = dir;
    while (state->root.size() > 1 && state->root.ends_with('/')) {
        state->root.pop_back();
    }
    WEFT_ASSIGN(state->watch, FolderWatch::open());
    WEFT_TRY(state->watch.add(state->root));
    const auto id = folder_id(state->root);
    if (!id) {
        return failure(ENOENT, "manifests folder {} does not exist: create it, or name another", dir);
    }
    state->root_id = *id;
    return ManifestFolder(std::move(state));
}

int ManifestFolder::fd() const {
    return state_->watch.fd();
}

Result<> ManifestFolder::load_all(store::Store& store) {
    WEFT_TRY(state_->scan(store, true));
    return {};
}

Result<bool> ManifestFolder::read(store::Store& store) {
    bool overflow = false;
    WEFT_ASSIGN(const auto events, state_->watch.drain(overflow));
    if (events.empty() && !overflow) {
        return false;
    }
    // A folder that is being removed reports each file first: ask before believing that they were deleted on purpose.
    if (auto fault = state_->root_fault()) {
        state_->gone = true;
        if (!folder_id(state_->root)) {
            state_->trouble = fault;
            return std::unexpected(*fault);
        }
    }
    if (overflow || state_->gone) {
        state_->written.clear(); // the closing events may be among the lost ones
        return state_->scan(store, false);
    }
    bool result = false;
    std::set<std::string> changed;
    std::set<std::string> dropped;
    for (const WatchEvent& event : events) {
        result |= state_->apply(store, event, changed, dropped);
    }
    for (const std::string& path : dropped) {
        if (!state_->written.contains(path)) { // else it is being written anew, and its close decides
            result |= state_->refresh(store, path, false);
        }
    }
    for (const std::string& path : changed) {
        result |= state_->refresh(store, path, true);
    }
    return result;
}

Result<bool> ManifestFolder::rescan(store::Store& store) {
    WEFT_ASSIGN(const bool by_events, read(store));
    WEFT_ASSIGN(const bool by_scan, state_->scan(store, false));
    return by_events || by_scan;
}

std::optional<Error> ManifestFolder::trouble() const {
    return state_->trouble;
}

} // namespace weft::source
