// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// One way to print an answer: as a table, or as the message itself in JSON or YAML.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <google/protobuf/message.h>

#include "tools/weft/document.hpp"
#include "tools/weft/globals.hpp"
#include "tools/weft/table.hpp"

namespace weft::cli {

/// `message` in the chosen format; `table` makes the text for table and wide.
inline std::string page_of(const Globals& globals, const google::protobuf::Message& message,
                           const std::function<std::string()>& table) {
    switch (globals.format) {
    case Format::kJson:
        return to_json(message).dump(2) + "\n";
    case Format::kYaml:
        return to_yaml(to_json(message));
    case Format::kTable:
    case Format::kWide:
        break;
    }
    return table();
}

/// The rows, or kubectl's sentence when there are none.
inline std::string table_or_nothing(const Table& table, const Globals& globals, const char* what) {
    if (table.empty()) {
        fmt::print(stderr, "No {} found.\n", what);
    }
    return table.text(!globals.no_headers);
}

/// A repeated field as a vector, for join_cells().
template <typename List>
std::vector<std::string> cells(const List& list) {
    return {list.begin(), list.end()};
}

} // namespace weft::cli
