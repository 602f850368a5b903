// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Cutting files into documents, and finding a member.
#include "agent/k8s/document.hpp"

#include <algorithm>

namespace weft::k8s {
namespace {

// A marker counts only at the very start of a line and followed by white space (YAML 1.2, 9.1.2).
bool is_marker(std::string_view line, std::string_view marker) {
    return line.starts_with(marker) && (line.size() == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\r');
}

} // namespace

const Value* Value::find(std::string_view key) const {
    const auto found =
        std::find_if(members.begin(), members.end(), [&](const auto& member) { return member.first == key; });
    return found == members.end() ? nullptr : found->second;
}

std::vector<DocumentText> split_documents(std::string_view text) {
    std::vector<DocumentText> documents;
    std::size_t begin = 0;
    int begin_line = 1;
    int line = 1;
    const auto finish = [&](std::size_t end) {
        if (end > begin) {
            documents.push_back({text.substr(begin, end - begin), begin_line});
        }
    };
    for (std::size_t position = 0; position < text.size(); ++line) {
        const std::size_t newline = std::min(text.find('\n', position), text.size());
        const std::string_view content = text.substr(position, newline - position);
        const std::size_t next = std::min(newline + 1, text.size());
        if (is_marker(content, "---")) {
            finish(position);
            begin = position; // the marker stays: content may follow it on its line
            begin_line = line;
        } else if (is_marker(content, "...")) {
            finish(position);
            begin = next;
            begin_line = line + 1;
        }
        position = next;
    }
    finish(text.size());
    return documents;
}

} // namespace weft::k8s
