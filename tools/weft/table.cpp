// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Columns, ages and sizes as text.
#include "tools/weft/table.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::cli {
namespace {

// Columns of a terminal that UTF-8 text takes, near enough for names: continuation bytes take none.
std::size_t width(const std::string& text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0u) != 0x80u; }));
}

} // namespace

Table::Table(std::vector<std::string> narrow, std::vector<std::string> wide, bool show_wide)
    : headers_(std::move(narrow)), shown_(headers_.size() + (show_wide ? wide.size() : 0)) {
    headers_.insert(headers_.end(), wide.begin(), wide.end());
}

void Table::add(std::vector<std::string> cells) {
    cells.resize(headers_.size());
    rows_.push_back(std::move(cells));
}

std::string Table::text(bool headers) const {
    if (rows_.empty()) {
        return {};
    }
    std::vector<std::size_t> widths(shown_, 0);
    auto cell_of = [](const std::vector<std::string>& row, std::size_t i) {
        return row[i].empty() ? "<none>" : row[i];
    };
    for (std::size_t i = 0; i < shown_; ++i) {
        widths[i] = headers ? width(headers_[i]) : 0;
        for (const auto& row : rows_) {
            widths[i] = std::max(widths[i], width(cell_of(row, i)));
        }
    }
    std::string out;
    auto line = [&](const std::vector<std::string>& row) {
        for (std::size_t i = 0; i < shown_; ++i) {
            const auto cell = cell_of(row, i);
            out += cell;
            if (i + 1 < shown_) {
                out.append(widths[i] - width(cell) + 3, ' ');
            }
        }
        out += '\n';
    };
    if (headers) {
        line(headers_);
    }
    for (const auto& row : rows_) {
        line(row);
    }
    return out;
}

std::string join_cells(const std::vector<std::string>& parts, std::size_t most) {
    std::string out;
    for (std::size_t i = 0; i < std::min(parts.size(), most); ++i) {
        out += (i == 0 ? "" : ",") + parts[i];
    }
    return parts.size() > most ? fmt::format("{} +{} more", out, parts.size() - most) : out;
}

std::string age_text(double seconds) {
    const auto s = static_cast<long long>(seconds);
    if (s < 60) {
        return fmt::format("{}s", s);
    }
    if (s < 600) {
        return s % 60 == 0 ? fmt::format("{}m", s / 60) : fmt::format("{}m{}s", s / 60, s % 60);
    }
    if (s < 3600) {
        return fmt::format("{}m", s / 60);
    }
    if (s < 8LL * 3600) {
        return s / 60 % 60 == 0 ? fmt::format("{}h", s / 3600) : fmt::format("{}h{}m", s / 3600, s / 60 % 60);
    }
    return s < 48LL * 3600 ? fmt::format("{}h", s / 3600) : fmt::format("{}d", s / 86400);
}

std::string duration_text(double nanoseconds) {
    if (nanoseconds < 1e6) {
        return fmt::format("{:.0f}us", nanoseconds / 1e3);
    }
    if (nanoseconds < 1e9) {
        return fmt::format("{:.1f}ms", nanoseconds / 1e6);
    }
    return nanoseconds < 60e9 ? fmt::format("{:.1f}s", nanoseconds / 1e9) : age_text(nanoseconds / 1e9);
}

std::string bytes_text(double bytes) {
    const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    std::size_t unit = 0;
    while (bytes >= 1024 && unit + 1 < std::size(units)) {
        bytes /= 1024;
        ++unit;
    }
    return unit == 0 ? fmt::format("{:.0f}B", bytes) : fmt::format("{:.1f}{}", bytes, units[unit]);
}

} // namespace weft::cli
