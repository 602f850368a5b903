// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Watch descriptors are never reused by the kernel while the instance lives, so a late event of a forgotten folder is
// recognised by its unknown descriptor.
#include "agent/source/folder_watch.hpp"

#include <sys/inotify.h>

#include <array>
#include <cstring>

namespace weft::source {
namespace {

constexpr std::uint32_t kMask = IN_CLOSE_WRITE | IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                                IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;

} // namespace

Result<FolderWatch> FolderWatch::open() {
    FolderWatch watch;
    watch.fd_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (!watch.fd_.valid()) {
        return system_failure("create an inotify instance (fs.inotify.max_user_instances limits them)");
    }
    return watch;
}

Result<> FolderWatch::add(const std::string& folder) {
    const int descriptor = ::inotify_add_watch(fd_.get(), folder.c_str(), kMask);
    if (descriptor < 0) {
        return system_failure("watch folder {}{}", folder,
                              errno == ENOSPC ? " (raise fs.inotify.max_user_watches)" : "");
    }
    if (const auto old = descriptors_.find(folder); old != descriptors_.end() && old->second != descriptor) {
        forget(old->second);
    }
    if (const auto other = folders_.find(descriptor); other != folders_.end() && other->second != folder) {
        descriptors_.erase(other->second); // the same folder under its former path
    }
    folders_[descriptor] = folder;
    descriptors_[folder] = descriptor;
    return {};
}

void FolderWatch::forget(int descriptor) {
    (void)::inotify_rm_watch(fd_.get(), descriptor); // EINVAL: the kernel dropped it with the folder
    if (const auto found = folders_.find(descriptor); found != folders_.end()) {
        if (const auto name = descriptors_.find(found->second);
            name != descriptors_.end() && name->second == descriptor) {
            descriptors_.erase(name);
        }
        folders_.erase(found);
    }
}

void FolderWatch::remove_tree(const std::string& folder) {
    std::vector<int> gone;
    for (const auto& [name, descriptor] : descriptors_) {
        if (name == folder || name.starts_with(folder + "/")) {
            gone.push_back(descriptor);
        }
    }
    for (const int descriptor : gone) {
        forget(descriptor);
    }
}

void FolderWatch::keep_only(const std::set<std::string>& folders) {
    std::vector<int> gone;
    for (const auto& [name, descriptor] : descriptors_) {
        if (!folders.contains(name)) {
            gone.push_back(descriptor);
        }
    }
    for (const int descriptor : gone) {
        forget(descriptor);
    }
}

Result<std::vector<WatchEvent>> FolderWatch::drain(bool& overflow) {
    std::vector<WatchEvent> events;
    alignas(inotify_event) std::array<char, 64 * 1024> buffer;
    while (true) {
        const ssize_t length = ::read(fd_.get(), buffer.data(), buffer.size());
        if (length < 0 && errno == EINTR) {
            continue;
        }
        if (length < 0 && errno == EAGAIN) {
            return events;
        }
        if (length <= 0) {
            return system_failure("read inotify events");
        }
        for (std::size_t at = 0; at < static_cast<std::size_t>(length);) {
            inotify_event event{};
            std::memcpy(&event, buffer.data() + at, sizeof event);
            const char* name = buffer.data() + at + sizeof event;
            at += sizeof event + event.len;
            if ((event.mask & IN_Q_OVERFLOW) != 0) {
                overflow = true;
                continue;
            }
            const auto folder = folders_.find(event.wd);
            if (folder == folders_.end()) {
                continue;
            }
            // The kernel pads the name with zeroes.
            events.push_back({folder->second,
                              event.len == 0 ? std::string() : std::string(name, ::strnlen(name, event.len)),
                              event.mask});
            if ((event.mask & IN_IGNORED) != 0) {
                forget(event.wd);
            }
        }
    }
}

} // namespace weft::source
