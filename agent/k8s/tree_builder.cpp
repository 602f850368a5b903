// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The bounds are checked while the tree grows, so a hostile text is given up early.
#include "agent/k8s/tree_builder.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace weft::k8s {
namespace {

// Maps beyond this are checked for duplicate keys by a set made once, at their end, not by a scan for each key.
constexpr std::size_t kScannedMembers = 32;

} // namespace

void TreeBuilder::check_depth(int line, std::size_t below) const {
    if (open_.size() + below > kMaxDepth) {
        throw TreeFault(line, fmt::format("nested deeper than {} levels", kMaxDepth));
    }
}

bool TreeBuilder::take_key(int line, const std::string& text, bool quoted) {
    if (open_.empty() || open_.back().value->kind != Value::Kind::kMap || open_.back().has_key) {
        return false;
    }
    Open& open = open_.back();
    open.has_key = true;
    open.merge = !quoted && text == "<<";
    open.key = text;
    open.key_line = line;
    return true;
}

void TreeBuilder::add_member(Open& open, std::string key, const Value* value) {
    auto& members = open.value->members;
    if (members.size() < kScannedMembers && open.value->find(key) != nullptr) {
        throw TreeFault(open.key_line, fmt::format("key '{}' appears twice in one map: remove one of them", key));
    }
    members.emplace_back(std::move(key), value);
}

void TreeBuilder::merge(Open& open, const Value& value, std::unordered_set<std::string>& keys) {
    if (value.kind == Value::Kind::kSequence) {
        for (const Value* item : value.items) {
            if (item->kind != Value::Kind::kMap) {
                throw TreeFault(open.key_line, "'<<' must be given a map or a list of maps");
            }
            merge(open, *item, keys);
        }
        return;
    }
    if (value.kind != Value::Kind::kMap) {
        throw TreeFault(open.key_line, "'<<' must be given a map or a list of maps");
    }
    alias_nodes_ += static_cast<std::uint32_t>(value.members.size());
    if (alias_nodes_ > kMaxAliasNodes) {
        throw TreeFault(open.key_line, "aliases expand to too much: write the content out");
    }
    for (const auto& [key, member] : value.members) {
        if (keys.insert(key).second) {
            open.value->members.emplace_back(key, member);
        }
    }
}

void TreeBuilder::add(const Value* value) {
    if (open_.empty()) {
        if (document_.root != nullptr) {
            throw TreeFault(value->line, "a second value in one document: separate documents by a line of '---'");
        }
        document_.root = value;
        return;
    }
    Open& open = open_.back();
    if (open.value->kind == Value::Kind::kMap) {
        if (!open.has_key) {
            throw TreeFault(value->line, "a map's key must be a plain text");
        }
        open.has_key = false;
        if (open.merge) {
            open.merged.push_back(value);
        } else {
            add_member(open, std::exchange(open.key, {}), value);
        }
    } else {
        open.value->items.push_back(value);
    }
    open.value->size += value->size;
    open.value->height = std::max<std::uint16_t>(open.value->height, static_cast<std::uint16_t>(value->height + 1));
}

void TreeBuilder::scalar(int line, std::string text, bool quoted, std::size_t anchor) {
    if (take_key(line, text, quoted)) {
        return;
    }
    check_depth(line, 1);
    Value& value = document_.nodes.emplace_back();
    value.kind = Value::Kind::kScalar;
    value.quoted = quoted;
    value.line = line;
    value.text = std::move(text);
    if (anchor != 0) {
        anchors_[anchor] = &value;
    }
    add(&value);
}

void TreeBuilder::null(int line, std::size_t anchor) {
    check_depth(line, 1);
    Value& value = document_.nodes.emplace_back();
    // A value that is left out has no place of its own: libyaml gives that of whatever follows.
    value.line = !open_.empty() && open_.back().has_key ? open_.back().key_line : line;
    if (anchor != 0) {
        anchors_[anchor] = &value;
    }
    add(&value);
}

void TreeBuilder::alias(int line, std::size_t anchor) {
    const auto found = anchors_.find(anchor);
    // An anchor is known only when its node has ended, so a node cannot contain itself.
    if (found == anchors_.end()) {
        throw TreeFault(line, "an alias refers to a value that contains it");
    }
    const Value& value = *found->second;
    if (open_.empty()) {
        throw TreeFault(line, "a document cannot be an alias");
    }
    check_depth(line, value.height);
    if (value.kind == Value::Kind::kScalar && take_key(line, value.text, true)) {
        return;
    }
    if (value.size > kMaxAliasNodes - std::min(alias_nodes_, kMaxAliasNodes)) {
        throw TreeFault(line, "aliases expand to too much: write the content out");
    }
    alias_nodes_ += value.size;
    add(&value);
}

void TreeBuilder::begin(Value::Kind kind, int line, std::size_t anchor) {
    check_depth(line, 1);
    if (!open_.empty() && open_.back().value->kind == Value::Kind::kMap && !open_.back().has_key) {
        throw TreeFault(line, "a map's key must be a plain text");
    }
    Value& value = document_.nodes.emplace_back();
    value.kind = kind;
    value.line = line;
    open_.push_back({&value, anchor, false, false, {}, 0, {}});
}

void TreeBuilder::end() {
    Open open = std::move(open_.back());
    open_.pop_back();
    const auto& members = open.value->members;
    if (members.size() > kScannedMembers) {
        std::vector<std::string_view> keys(members.size());
        std::transform(members.begin(), members.end(), keys.begin(),
                       [](const auto& member) { return std::string_view(member.first); });
        std::sort(keys.begin(), keys.end());
        if (const auto twice = std::adjacent_find(keys.begin(), keys.end()); twice != keys.end()) {
            throw TreeFault(open.value->line,
                            fmt::format("key '{}' appears twice in one map: remove one of them", *twice));
        }
    }
    if (!open.merged.empty()) {
        std::unordered_set<std::string> keys; // a scan for each key would let a hostile text take for ever
        for (const auto& [key, member] : open.value->members) {
            keys.insert(key);
        }
        for (const Value* value : open.merged) {
            merge(open, *value, keys);
        }
    }
    if (open.anchor != 0) {
        anchors_[open.anchor] = open.value;
    }
    add(open.value);
}

void TreeBuilder::salvage() {
    while (!open_.empty()) {
        const Value* value = open_.back().value;
        open_.pop_back();
        if (open_.empty()) {
            if (document_.root == nullptr) {
                document_.root = value;
            }
        } else if (Open& parent = open_.back(); parent.value->kind == Value::Kind::kMap && parent.has_key) {
            parent.value->members.emplace_back(parent.key, value);
        }
    }
}

} // namespace weft::k8s
