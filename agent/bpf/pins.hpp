// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where are Weft's maps and links pinned, and how are pins made, replaced and removed? Knows files on a BPF file
// system; knows nothing of what the objects mean.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::bpf {

/// Paths below one pin directory.
class PinLayout {
public:
    explicit PinLayout(std::string pin_dir) : root_(std::move(pin_dir)) {}

    [[nodiscard]] const std::string& root() const { return root_; }
    /// PIN_DIR/v<WEFT_ABI_VERSION>
    [[nodiscard]] std::string version_dir() const;
    [[nodiscard]] std::string maps_dir() const { return version_dir() + "/maps"; }
    [[nodiscard]] std::string links_dir() const { return version_dir() + "/links"; }
    /// Links that belong to one pod's network namespace, by its cookie.
    [[nodiscard]] std::string pods_dir() const { return version_dir() + "/pods"; }
    [[nodiscard]] std::string pod(std::uint64_t netns_cookie) const {
        return pods_dir() + "/" + std::to_string(netns_cookie);
    }
    [[nodiscard]] std::string map(const std::string& name) const { return maps_dir() + "/" + name; }
    [[nodiscard]] std::string link(const std::string& name) const { return links_dir() + "/" + name; }
    /// Directories of other ABI versions that exist.
    [[nodiscard]] std::vector<std::string> other_versions() const;

    /// Creates the directories. Error ENODEV with the mount command when they would not be on a BPF file system.
    [[nodiscard]] Result<> create() const;

private:
    std::string root_;
};

/// Pins `fd` at `path`, replacing what is there in one step.
Result<> pin_over(int fd, const std::string& path);

/// Names in a directory; empty when it does not exist.
std::vector<std::string> names_in(const std::string& directory);

/// Detaches the link pinned at `path` and removes the pin. A missing one is no error.
Result<> detach_pinned(const std::string& path);

/// Removes one version directory: detaches its links, unpins its maps.
Result<> remove_version(const std::string& version_dir);

} // namespace weft::bpf
