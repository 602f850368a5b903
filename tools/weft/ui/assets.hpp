// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The page's files, as they are in tools/weft/ui/static, inside this program.
#pragma once

#include <string_view>

namespace weft::ui {

struct Asset {
    std::string_view path; ///< as asked for, "/main.js"
    std::string_view type; ///< MIME type
    std::string_view body;
};

/// The file for a path; null when there is none. "/" is the page itself.
const Asset* find_asset(std::string_view path);

} // namespace weft::ui
