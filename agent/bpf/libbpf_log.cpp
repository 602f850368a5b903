// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/bpf/libbpf_log.hpp"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <deque>
#include <string_view>

namespace weft::bpf {
namespace {

constexpr std::size_t kKeptBytes = 64 * 1024;
constexpr std::size_t kKeptLines = 8;

thread_local std::string* collector = nullptr;

int collect(libbpf_print_level level, const char* format, std::va_list args) {
    if (collector == nullptr || level == LIBBPF_DEBUG) {
        return 0;
    }
    std::va_list again;
    va_copy(again, args);
    const int length = std::vsnprintf(nullptr, 0, format, again);
    va_end(again);
    if (length <= 0) {
        return 0;
    }
    std::string text(static_cast<std::size_t>(length) + 1, '\0');
    (void)std::vsnprintf(text.data(), text.size(), format, args); // the length was measured above
    text.resize(static_cast<std::size_t>(length));
    *collector += text;
    if (collector->size() > kKeptBytes) { // a verifier log may be megabytes; its end names the fault
        collector->erase(0, collector->size() - kKeptBytes);
    }
    return length;
}

} // namespace

LibbpfLog::LibbpfLog() : outer_(collector) {
    libbpf_set_print(collect);
    collector = &text_;
}

LibbpfLog::~LibbpfLog() {
    collector = outer_;
}

std::string LibbpfLog::tail() const {
    std::deque<std::string_view> lines;
    std::string_view rest = text_;
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');
        const std::string_view line = rest.substr(0, end);
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
        if (!line.empty()) {
            lines.push_back(line);
            if (lines.size() > kKeptLines) {
                lines.pop_front();
            }
        }
    }
    std::string joined;
    for (const std::string_view line : lines) {
        joined += joined.empty() ? "" : " | ";
        joined += line;
    }
    return joined;
}

} // namespace weft::bpf
