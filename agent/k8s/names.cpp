// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Rules of k8s.io/apimachinery's validation package, as its documentation states them.
#include "agent/k8s/names.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weft::k8s {
namespace {

bool lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool digit(char c) {
    return c >= '0' && c <= '9';
}
bool lower_or_digit(char c) {
    return lower(c) || digit(c);
}
bool letter_or_digit(char c) {
    return lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

bool is_label(std::string_view text) {
    return !text.empty() && lower_or_digit(text.front()) && lower_or_digit(text.back()) &&
           std::all_of(text.begin(), text.end(), [](char c) { return lower_or_digit(c) || c == '-'; });
}

// The name part of a label key, and a whole label value unless empty.
bool is_qualified(std::string_view text) {
    return !text.empty() && letter_or_digit(text.front()) && letter_or_digit(text.back()) &&
           std::all_of(text.begin(), text.end(),
                       [](char c) { return letter_or_digit(c) || c == '-' || c == '_' || c == '.'; });
}

} // namespace

NameFault dns_label_fault(std::string_view text) {
    if (text.size() > 63 || !is_label(text)) {
        return fmt::format(
            "'{}' is no DNS label: use at most 63 lower-case letters, digits and '-', beginning and ending "
            "with a letter or digit",
            text);
    }
    return {};
}

NameFault service_name_fault(std::string_view text) {
    if (text.size() > 63 || !is_label(text) || !lower(text.front())) {
        return fmt::format(
            "'{}' is no Service name: use at most 63 lower-case letters, digits and '-', beginning with a "
            "letter and ending with a letter or digit",
            text);
    }
    return {};
}

NameFault dns_subdomain_fault(std::string_view text) {
    bool good = !text.empty() && text.size() <= 253;
    for (std::string_view rest = text; good;) {
        const auto dot = rest.find('.');
        good = is_label(rest.substr(0, dot));
        if (dot == std::string_view::npos) {
            break;
        }
        rest.remove_prefix(dot + 1);
    }
    if (!good) {
        return fmt::format("'{}' is no DNS name: use at most 253 lower-case letters, digits, '-' and '.', each part "
                           "beginning and ending with a letter or digit",
                           text);
    }
    return {};
}

NameFault label_key_fault(std::string_view text) {
    const auto slash = text.find('/');
    const std::string_view name = slash == std::string_view::npos ? text : text.substr(slash + 1);
    if (slash != std::string_view::npos) {
        if (auto fault = dns_subdomain_fault(text.substr(0, slash))) {
            return fmt::format("key '{}': its prefix {}", text, *fault);
        }
    }
    if (name.size() > 63 || !is_qualified(name)) {
        return fmt::format(
            "key '{}' is not allowed: use [prefix/]name, the name at most 63 letters, digits, '-', '_' and "
            "'.', beginning and ending with a letter or digit",
            text);
    }
    return {};
}

NameFault label_value_fault(std::string_view text) {
    if (text.size() > 63 || (!text.empty() && !is_qualified(text))) {
        return fmt::format(
            "'{}' is no label value: use at most 63 letters, digits, '-', '_' and '.', beginning and ending "
            "with a letter or digit",
            text);
    }
    return {};
}

NameFault port_name_fault(std::string_view text) {
    if (text.size() > 15 || !is_label(text) || std::none_of(text.begin(), text.end(), lower) ||
        text.find("--") != std::string_view::npos) {
        return fmt::format(
            "'{}' is no port name: use at most 15 lower-case letters, digits and single '-', at least one of "
            "them a letter",
            text);
    }
    return {};
}

} // namespace weft::k8s
