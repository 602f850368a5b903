// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Where do pictures of a test go? Beside its report, where they are kept after the run.
#pragma once

#include <filesystem>
#include <string>

namespace weft::e2e {

/// BUILD/results/NAME; the folder is made.
inline std::string result_file(const std::string& name) {
    const auto folder = std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "results";
    std::filesystem::create_directories(folder);
    return (folder / name).string();
}

} // namespace weft::e2e
