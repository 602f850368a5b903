// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One file of a manifests folder: whether its name counts, whether it changed, what is in it.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>

#include "agent/k8s/parse.hpp"

namespace weft::source {

/// What tells one content of a file from another without reading it.
struct FileMark {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = 0;
    std::int64_t modified_ns = 0;
    std::int64_t changed_ns = 0;

    friend bool operator==(const FileMark&, const FileMark&) = default;
};

/// True for names that are read: *.yaml, *.yml, *.json, not hidden.
bool is_manifest_name(std::string_view name);

/// The mark of the file behind `path`, links followed; nothing when no regular file is there.
std::optional<FileMark> mark_of(const std::string& path);

/// Reads and parses `path`. A file that cannot be read gives a refusal and an incomplete outcome, so that what it
/// defined before stays in force.
k8s::ParseOutcome read_manifest(const std::string& path);

} // namespace weft::source
