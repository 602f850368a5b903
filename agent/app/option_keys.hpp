// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The table of everything that can be configured: it drives parsing, `--help`, `--check-config` and the manual.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/app/options.hpp"

namespace weft::app {

/// One configuration key. The flag is --key with dashes, the variable WEFT_KEY in capitals.
struct Key {
    std::string_view name; ///< as in the file: lower case, underscores
    std::string_view value; ///< placeholder in --help
    std::string_view help;
    std::function<Result<>(Options&, const std::string&)> set;
    std::function<std::string(const Options&)> get; ///< as set() takes it
    /// The file says it as a mapping; elsewhere it is "NAME=VALUE NAME=VALUE".
    bool mapping = false;
};

/// In the order of `--help`.
const std::vector<Key>& option_keys();

} // namespace weft::app
