// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Typed reads. Which plain scalars are numbers or booleans follows YAML 1.1, as kubectl and the API server read it.
#include "agent/k8s/field.hpp"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weft::k8s {
namespace {

std::optional<bool> as_boolean(std::string_view text) {
    for (const std::string_view yes : {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"}) {
        if (text == yes) {
            return true;
        }
    }
    for (const std::string_view no : {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"}) {
        if (text == no) {
            return false;
        }
    }
    return {};
}

bool digits(std::string_view text) {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || c == '_'; });
}

bool looks_like_number(std::string_view text) {
    if (text == ".inf" || text == "-.inf" || text == ".nan") {
        return true;
    }
    if (text.starts_with('-') || text.starts_with('+')) {
        text.remove_prefix(1);
    }
    if (text.starts_with("0x") || text.starts_with("0o") || text.starts_with("0b")) {
        return text.size() > 2 && std::all_of(text.begin() + 2, text.end(), [](char c) {
                   return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
               });
    }
    if (text.empty() || (text[0] != '.' && (text[0] < '0' || text[0] > '9'))) {
        return false;
    }
    if (const auto e = text.find_first_of("eE"); e != std::string_view::npos) {
        std::string_view exponent = text.substr(e + 1);
        if (exponent.starts_with('-') || exponent.starts_with('+')) {
            exponent.remove_prefix(1);
        }
        if (!digits(exponent)) {
            return false;
        }
        text = text.substr(0, e);
    }
    const auto dot = text.find('.');
    if (dot == std::string_view::npos) {
        return digits(text);
    }
    const auto whole = text.substr(0, dot);
    const auto fraction = text.substr(dot + 1);
    return (whole.empty() || digits(whole)) && (fraction.empty() || digits(fraction)) &&
           !(whole.empty() && fraction.empty());
}

std::string_view shape(const Value& value) {
    switch (value.kind) {
    case Value::Kind::kNull:
        return "nothing";
    case Value::Kind::kScalar:
        return "a single value";
    case Value::Kind::kSequence:
        return "a list";
    case Value::Kind::kMap:
        return "a map";
    }
    return "something else";
}

} // namespace

Field Field::at(std::string_view name) const& {
    return {*this, value_ == nullptr ? nullptr : value_->find(name), name, 0};
}

std::string Field::path() const {
    if (parent_ == nullptr) {
        return {};
    }
    std::string path = parent_->path();
    if (name_.empty()) {
        return fmt::format("{}[{}]", path, index_);
    }
    if (name_.find_first_of("./") != std::string_view::npos) {
        return fmt::format("{}[{}]", path, name_);
    }
    return path.empty() ? std::string(name_) : fmt::format("{}.{}", path, name_);
}

void Field::fault(std::string message) const {
    faults_->any = true;
    faults_->refusals.push_back({faults_->key, {faults_->file, line_}, path(), std::move(message), false});
}

void Field::check(const NameFault& fault_text) const {
    if (fault_text) {
        fault(*fault_text);
    }
}

bool Field::map() const {
    if (missing()) {
        return false;
    }
    if (value_->kind != Value::Kind::kMap) {
        fault(fmt::format("a map is due here, not {}", shape(*value_)));
        return false;
    }
    return true;
}

bool Field::required_map() const {
    if (missing()) {
        fault("required: add it");
        return false;
    }
    return map();
}

bool Field::list() const {
    if (missing()) {
        return false;
    }
    if (value_->kind != Value::Kind::kSequence) {
        fault(fmt::format("a list is due here, not {}: begin each item with '- '", shape(*value_)));
        return false;
    }
    return true;
}

bool Field::scalar(std::string_view wanted) const {
    if (missing()) {
        return false;
    }
    if (value_->kind != Value::Kind::kScalar) {
        fault(fmt::format("{} is due here, not {}", wanted, shape(*value_)));
        return false;
    }
    return true;
}

void Field::only(std::initializer_list<std::string_view> names) const {
    if (value_ == nullptr) {
        return;
    }
    for (const auto& [key, member] : value_->members) {
        if (std::find(names.begin(), names.end(), key) == names.end()) {
            Field(*this, member, key, 0).fault(fmt::format("unknown field: known are {}", fmt::join(names, ", ")));
        }
    }
}

std::string Field::string(std::string_view fallback) const {
    if (!scalar("a string")) {
        return std::string(fallback);
    }
    if (!value_->quoted && (as_boolean(value_->text) || looks_like_number(value_->text))) {
        fault(fmt::format("a string is due here, and {} is none: write \"{}\" in quotes", value_->text, value_->text));
        return std::string(fallback);
    }
    return value_->text;
}

std::string Field::required_string() const {
    if (missing() || (value_->kind == Value::Kind::kScalar && value_->text.empty())) {
        fault("required: give it a value");
        return {};
    }
    return string();
}

std::string Field::one_of(std::initializer_list<std::string_view> allowed, std::string_view fallback) const {
    if (missing()) {
        return std::string(fallback);
    }
    const std::size_t before = faults_->refusals.size();
    std::string text = string();
    if (faults_->refusals.size() != before) {
        return std::string(fallback);
    }
    if (std::find(allowed.begin(), allowed.end(), text) == allowed.end()) {
        fault(fmt::format("'{}' is not supported: use {}", text, fmt::join(allowed, ", ")));
        return std::string(fallback);
    }
    return text;
}

std::optional<std::int64_t> Field::integer(std::int64_t least, std::int64_t most) const {
    if (!scalar("a whole number")) {
        return {};
    }
    const std::string& text = value_->text;
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (value_->quoted || end != text.data() + text.size() ||
        (error != std::errc{} && error != std::errc::result_out_of_range)) {
        fault(fmt::format("a whole number is due here, not '{}'{}", text,
                          value_->quoted && digits(text) ? ": remove the quotes" : ""));
        return {};
    }
    if (error != std::errc{} || number < least || number > most) {
        fault(fmt::format("{} is out of range: use {} to {}", text, least, most));
        return {};
    }
    return number;
}

std::optional<std::uint16_t> Field::port() const {
    const auto number = integer(1, 65535);
    return number ? std::optional(static_cast<std::uint16_t>(*number)) : std::nullopt;
}

std::optional<PortRef> Field::port_or_name() const {
    if (!scalar("a port number or name")) {
        return {};
    }
    if (!value_->quoted && looks_like_number(value_->text)) {
        const auto number = port();
        return number ? std::optional<PortRef>(*number) : std::nullopt;
    }
    const std::string name = string();
    if (digits(name)) {
        fault(fmt::format("\"{}\" in quotes is a port's name, and a name needs a letter: remove the quotes", name));
        return {};
    }
    if (auto wrong = port_name_fault(name)) {
        fault(std::move(*wrong));
        return {};
    }
    return PortRef(name);
}

std::uint8_t Field::protocol() const {
    return protocol_number(one_of({"TCP", "UDP", "SCTP"}, "TCP")).value_or(6);
}

bool Field::boolean(bool fallback) const {
    if (!scalar("true or false")) {
        return fallback;
    }
    const auto answer = value_->quoted ? std::nullopt : as_boolean(value_->text);
    if (!answer) {
        fault(fmt::format("'{}' is not true or false{}", value_->text, value_->quoted ? ": remove the quotes" : ""));
    }
    return answer.value_or(fallback);
}

std::optional<Ip> Field::ip() const {
    const std::string text = required_string();
    if (text.empty()) {
        return {};
    }
    auto address = Ip::parse(text);
    if (!address) {
        fault(address.error().message());
        return {};
    }
    return *address;
}

std::optional<Cidr> Field::cidr() const {
    const std::string text = required_string();
    if (text.empty()) {
        return {};
    }
    auto prefix = Cidr::parse(text);
    if (!prefix) {
        fault(prefix.error().message());
        return {};
    }
    return *prefix;
}

std::vector<std::string> Field::strings() const {
    std::vector<std::string> texts;
    items([&](const Field& item) { texts.push_back(item.string()); });
    return texts;
}

Labels Field::labels(bool values_are_labels) const {
    Labels labels;
    if (!map()) {
        return labels;
    }
    for (const auto& [key, member] : value_->members) {
        const Field field(*this, member, key, 0);
        std::string judged = key;
        if (!values_are_labels) { // an annotation's key may have capitals in its prefix, too
            std::transform(judged.begin(), judged.end(), judged.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
        }
        field.check(label_key_fault(judged));
        std::string text = field.string();
        if (values_are_labels) {
            field.check(label_value_fault(text));
        }
        labels.emplace(key, std::move(text));
    }
    return labels;
}

} // namespace weft::k8s
