// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A place in a document, as the object parsers see it: typed reads that record a fault with line and path instead of
// failing, so that one pass finds every fault of an object.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/k8s/document.hpp"
#include "agent/k8s/names.hpp"
#include "agent/k8s/objects.hpp"
#include "agent/store/snapshot.hpp"

namespace weft::k8s {

/// The faults of one object.
struct Faults {
    const std::string& file;
    ObjectKey key;
    std::vector<store::Refusal>& refusals;
    bool any = false;
};

/// Refers to its parent, its document and its Faults: keep it on the stack below them. Reads of a missing or null
/// field give the default; a wrong type is a fault and gives the default too.
class Field {
public:
    Field(const Value& root, Faults& faults) : value_(&root), line_(root.line), faults_(&faults) {}

    /// The member `name`; missing when there is none. A map is due here: anything else is a fault, recorded once by
    /// map().
    [[nodiscard]] Field at(std::string_view name) const&;
    Field at(std::string_view name) const&& = delete; // the child would refer to a dead parent

    [[nodiscard]] bool missing() const { return value_ == nullptr || value_->kind == Value::Kind::kNull; }
    [[nodiscard]] bool has(std::string_view name) const { return value_ != nullptr && value_->find(name) != nullptr; }
    [[nodiscard]] const Value* value() const { return value_; }
    /// Line of the value; of the nearest thing that is there when it is missing.
    [[nodiscard]] int line() const { return line_; }
    /// "spec.ports[1].port"
    [[nodiscard]] std::string path() const;

    void fault(std::string message) const;
    /// Records `fault` if there is one.
    void check(const NameFault& fault) const;
    /// True when a map is here; a fault when something else is, none when nothing is.
    [[nodiscard]] bool map() const;
    /// A fault unless a map is here.
    [[nodiscard]] bool required_map() const;
    /// A fault for every member that is none of `names`: for objects whose misspelt field would change a decision.
    void only(std::initializer_list<std::string_view> names) const;

    [[nodiscard]] std::string string(std::string_view fallback = {}) const;
    /// A string that must be there and not be empty.
    [[nodiscard]] std::string required_string() const;
    /// One of `allowed`, or `fallback` when missing. A fault (and the fallback) for anything else.
    [[nodiscard]] std::string one_of(std::initializer_list<std::string_view> allowed, std::string_view fallback) const;
    [[nodiscard]] std::optional<std::int64_t> integer(std::int64_t least, std::int64_t most) const;
    [[nodiscard]] std::optional<std::uint16_t> port() const;
    /// Number or name; nothing when missing.
    [[nodiscard]] std::optional<PortRef> port_or_name() const;
    /// IPPROTO_*; TCP when missing.
    [[nodiscard]] std::uint8_t protocol() const;
    [[nodiscard]] bool boolean(bool fallback) const;
    [[nodiscard]] std::optional<Ip> ip() const;
    [[nodiscard]] std::optional<Cidr> cidr() const;
    [[nodiscard]] std::vector<std::string> strings() const;
    /// A map of strings; keys are checked as label keys, values too when `values_are_labels`.
    [[nodiscard]] Labels labels(bool values_are_labels) const;

    /// Calls `use(Field)` for each item of a list; a fault when something else is here.
    template <typename F>
    void items(F use) const {
        if (!list()) {
            return;
        }
        for (std::size_t index = 0; index < value_->items.size(); ++index) {
            use(Field(*this, value_->items[index], {}, index));
        }
    }
    /// Number of items; 0 when missing or not a list.
    [[nodiscard]] std::size_t count() const { return value_ == nullptr ? 0 : value_->items.size(); }

private:
    Field(const Field& parent, const Value* value, std::string_view name, std::size_t index)
        : value_(value), parent_(&parent), name_(name), index_(index),
          line_(value != nullptr ? value->line : parent.line_), faults_(parent.faults_) {}

    [[nodiscard]] bool list() const;
    [[nodiscard]] bool scalar(std::string_view wanted) const;

    const Value* value_;
    const Field* parent_ = nullptr;
    std::string_view name_; ///< empty: an item of a list
    std::size_t index_ = 0;
    int line_;
    Faults* faults_;
};

} // namespace weft::k8s
