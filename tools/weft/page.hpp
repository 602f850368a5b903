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

/// Prints `message` in the chosen format; `table` makes the text for table and wide.
inline void print_page(const Globals& globals, const google::protobuf::Message& message,
                       const std::function<std::string()>& table) {
    switch (globals.format) {
    case Format::kJson:
        fmt::print("{}\n", to_json(message).dump(2));
        return;
    case Format::kYaml:
        fmt::print("{}", to_yaml(to_json(message)));
        return;
    case Format::kTable:
    case Format::kWide:
        fmt::print("{}", table());
    }
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
