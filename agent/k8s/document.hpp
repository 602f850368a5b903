// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// YAML or JSON text as a small tree that knows the line of everything: what the object parsers read. Both readers are
// bounded in depth and alias expansion, and refuse duplicate keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::k8s {

/// One node of a document. Nodes live as long as their Document; an alias shares its anchor's node.
struct Value {
    enum class Kind : std::uint8_t { kNull, kScalar, kSequence, kMap };

    Kind kind = Kind::kNull;
    bool quoted = false; ///< scalar: written as a string ("80", 'yes', |), so never a number or boolean
    std::uint16_t height = 1; ///< levels of nesting below and including this one
    int line = 0;        ///< 1-based line in the file
    std::uint32_t size = 1; ///< nodes below and including this one, aliases expanded
    std::string text;    ///< scalar
    std::vector<const Value*> items;                             ///< sequence
    std::vector<std::pair<std::string, const Value*>> members;   ///< map, in the order written

    /// The member named `key`; nullptr when missing or when this is no map.
    [[nodiscard]] const Value* find(std::string_view key) const;
};

/// Bounds that no real manifest comes near.
inline constexpr std::size_t kMaxDepth = 64;
inline constexpr std::uint32_t kMaxAliasNodes = 100'000; ///< nodes that aliases may add to one document

/// Why a text could not be read.
struct SyntaxFault {
    int line = 0; ///< 1-based in the file
    std::string message;
};

/// One document and everything it owns.
struct Document {
    std::deque<Value> nodes;
    const Value* root = nullptr; ///< null: the document is empty, or was broken before its first node ended
    std::vector<SyntaxFault> faults; ///< not empty: `root` holds only what came before the fault
};

/// One document's text within a file.
struct DocumentText {
    std::string_view text;
    int first_line = 1; ///< 1-based line of the file at which `text` begins
};

/// Cuts a file at its `---` and `...` lines, so that a syntax error stays within its document.
std::vector<DocumentText> split_documents(std::string_view text);

/// Reads one YAML document.
Document read_yaml(DocumentText source);

/// Reads a text that is one JSON value. Much faster than read_yaml.
Document read_json(DocumentText source);

} // namespace weft::k8s
