// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Files that must survive a power cut and that nobody else may read: written beside, synced, renamed, and the folder
// synced; read only when owner and mode are right.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "weft/base/result.hpp"

namespace weft::pki {

/// Who may read a file.
enum class Access {
    kOwner, ///< mode 0600: refused when anybody else could read or write it
    kWorld, ///< mode 0644: refused when anybody else could write it
};

/// Makes the last folder of `path` with mode 0700, or checks the one that is there: a directory of ours that nobody
/// else may write or enter. Errors: EPERM naming what is wrong and the remedy, or errno of the call.
Result<> make_private_folder(const std::string& path);

/// The whole file. Errors: ENOENT, EPERM for a wrong owner or mode with the remedy, EFBIG beyond `most` bytes, EINVAL
/// when it is no regular file, or errno of the call.
Result<std::string> read_private(const std::string& path, Access access = Access::kOwner,
                                 std::size_t most = std::size_t{1} << 20);

/// Replaces the file: a reader, also one after a power cut, sees the old bytes or the new ones. Error: errno of the
/// call; the old file is then untouched.
Result<> write_durable(const std::string& path, std::string_view bytes, Access access = Access::kOwner);

/// Adds a line at the end of a file and, with `sync`, waits until it is on disk. A torn last line that a power cut left
/// is ended first. Error: errno of the call.
Result<> append_line(const std::string& path, std::string_view line, bool sync);

/// Removes the file and syncs its folder; a missing one is no error.
Result<> remove_durable(const std::string& path);

} // namespace weft::pki
