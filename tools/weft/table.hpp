// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do lists look? As kubectl prints them: upper-case headers, columns as wide as their widest cell, three spaces
// between, "<none>" for nothing.
#pragma once

#include <string>
#include <vector>

namespace weft::cli {

class Table {
public:
    /// `wide` columns are those after `narrow`; they are printed only when `show_wide`.
    Table(std::vector<std::string> narrow, std::vector<std::string> wide, bool show_wide);

    /// One cell for every column, wide ones included.
    void add(std::vector<std::string> cells);
    /// The whole table; no trailing spaces. Empty without rows.
    [[nodiscard]] std::string text(bool headers) const;
    [[nodiscard]] bool empty() const { return rows_.empty(); }

private:
    std::vector<std::string> headers_;
    std::size_t shown_;
    std::vector<std::vector<std::string>> rows_;
};

/// "a,b,c", or the first `most` and "+N more".
std::string join_cells(const std::vector<std::string>& parts, std::size_t most);
/// "5s", "3m20s", "2h5m", "4d": as kubectl shows ages.
std::string age_text(double seconds);
/// Nanoseconds as "850us", "3.2ms", "1.5s", "2m5s".
std::string duration_text(double nanoseconds);
/// 1234 as "1.2KiB".
std::string bytes_text(double bytes);

} // namespace weft::cli
