// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Builds a Document from the events of a reader, and enforces the bounds that both readers share: depth, alias
// expansion, no duplicate key, scalar keys only.
#pragma once

#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "agent/k8s/document.hpp"

namespace weft::k8s {

/// Thrown by TreeBuilder, caught by the reader that owns it; never leaves this folder.
class TreeFault : public std::runtime_error {
public:
    TreeFault(int at_line, const std::string& what) : std::runtime_error(what), line(at_line) {}
    int line;
};

class TreeBuilder {
public:
    explicit TreeBuilder(Document& document) : document_(document) {}

    /// Anchors are the reader's numbers; 0 means none. Lines are 1-based in the file.
    void scalar(int line, std::string text, bool quoted, std::size_t anchor = 0);
    void null(int line, std::size_t anchor = 0);
    void alias(int line, std::size_t anchor);
    void begin(Value::Kind kind, int line, std::size_t anchor = 0);
    void end();
    /// After a fault: closes what is open, so that kind and name can still be read from what came before.
    void salvage();

private:
    struct Open {
        Value* value;
        std::size_t anchor;
        bool has_key = false;
        bool merge = false; ///< the key is a plain <<
        std::string key;
        int key_line = 0;
        std::vector<const Value*> merged; ///< what << was given: filled in at the end, as written keys go first
    };

    void add(const Value* value);
    void add_member(Open& open, std::string key, const Value* value);
    void merge(Open& open, const Value& value, std::unordered_set<std::string>& keys);
    bool take_key(int line, const std::string& text, bool quoted);
    void check_depth(int line, std::size_t below) const;

    Document& document_;
    std::vector<Open> open_;
    std::unordered_map<std::size_t, const Value*> anchors_;
    std::uint32_t alias_nodes_ = 0;
};

} // namespace weft::k8s
