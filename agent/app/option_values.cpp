// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/option_values.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "weft/base/spiffe_id.hpp"

namespace weft::app {

Result<> set_text(std::string& target, const std::string& text) {
    target = text;
    return {};
}

Result<> set_choice(std::string& target, const std::string& text, const std::vector<std::string>& choices) {
    if (std::ranges::find(choices, text) == choices.end()) {
        return invalid("'{}' is not one of: {}", text, fmt::join(choices, ", "));
    }
    target = text;
    return {};
}

Result<long> parse_number(const std::string& text, long least, long most) {
    long value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) {
        return invalid("'{}' is not a number from {} to {}", text, least, most);
    }
    return value;
}

Result<> set_bool(bool& target, const std::string& text) {
    if (text != "true" && text != "false") {
        return invalid("'{}' is neither true nor false", text);
    }
    target = text == "true";
    return {};
}

Result<> set_address(std::string& target, const std::string& text) {
    if (!text.empty()) {
        const auto colon = text.rfind(':');
        const auto host = text.substr(0, colon);
        const bool bracketed = host.starts_with("[") && host.ends_with("]");
        if (colon == std::string::npos || host.empty() || (host.contains(':') && !bracketed) ||
            !parse_number(text.substr(colon + 1), 0, 65535)) {
            return invalid("'{}' is not HOST:PORT or [IPV6]:PORT", text);
        }
    }
    target = text;
    return {};
}

Result<> set_path(std::string& target, const std::string& text) {
    if (!text.empty() && text.front() != '/') {
        return invalid("'{}' is not an absolute path", text);
    }
    target = text;
    while (target.size() > 1 && target.back() == '/') {
        target.pop_back();
    }
    return {};
}

Result<> set_by_domain(std::map<std::string, std::string>& target, const std::string& text) {
    std::map<std::string, std::string> read;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        const auto equals = word.find('=');
        if (equals == std::string::npos || equals + 1 == word.size()) {
            return invalid("'{}' is not TRUST-DOMAIN=VALUE", word);
        }
        const auto domain = word.substr(0, equals);
        WEFT_TRY(check_trust_domain(domain));
        if (!read.emplace(domain, word.substr(equals + 1)).second) {
            return invalid("trust domain '{}' stands there twice; give it once", domain);
        }
    }
    target = std::move(read);
    return {};
}

Result<> set_by_name(std::map<std::string, std::string>& target, const std::string& text) {
    std::map<std::string, std::string> read;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        const auto equals = word.find('=');
        if (equals == std::string::npos || equals == 0 || equals + 1 == word.size()) {
            return invalid("'{}' is not NAME=VALUE", word);
        }
        if (!read.emplace(word.substr(0, equals), word.substr(equals + 1)).second) {
            return invalid("'{}' stands there twice; give it once", word.substr(0, equals));
        }
    }
    target = std::move(read);
    return {};
}

Result<> set_blocks(std::map<std::string, std::vector<Cidr>>& target, const std::string& text) {
    std::map<std::string, std::string> texts;
    WEFT_TRY(set_by_domain(texts, text));
    std::map<std::string, std::vector<Cidr>> read;
    for (const auto& [domain, list] : texts) {
        std::istringstream parts(list);
        for (std::string part; std::getline(parts, part, ',');) {
            auto block = Cidr::parse(part);
            if (!block) {
                return std::unexpected(block.error().within(domain));
            }
            read[domain].push_back(*block);
        }
    }
    target = std::move(read);
    return {};
}

Result<> set_log_file(std::string& target, const std::string& text) {
    return text == "stdout" ? set_text(target, text) : set_path(target, text);
}

Result<> set_percent_by_namespace(std::map<std::string, unsigned>& target, const std::string& text) {
    std::map<std::string, unsigned> read;
    std::istringstream words(text);
    for (std::string word; words >> word;) {
        const auto equals = word.find('=');
        if (equals == std::string::npos || equals == 0) {
            return invalid("'{}' is not NAMESPACE=PERCENT", word);
        }
        const auto name = word.substr(0, equals);
        const auto percent = parse_number(word.substr(equals + 1), 0, 100);
        if (!percent) {
            return std::unexpected(percent.error().within(name));
        }
        if (!read.emplace(name, static_cast<unsigned>(*percent)).second) {
            return invalid("namespace '{}' stands there twice; give it once", name);
        }
    }
    target = std::move(read);
    return {};
}

Result<std::pair<std::string, std::uint16_t>> split_address(const std::string& text) {
    const auto colon = text.rfind(':');
    auto host = text.substr(0, colon == std::string::npos ? 0 : colon);
    const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
    const auto port = parse_number(colon == std::string::npos ? "" : text.substr(colon + 1), 1, 65535);
    if (!port || (!bracketed && host.find(':') != std::string::npos)) {
        return invalid("'{}' is not HOST:PORT, as 0.0.0.0:4244 or [2001:db8::1]:4244 is", text);
    }
    if (bracketed) {
        host = host.substr(1, host.size() - 2);
    }
    return std::pair(host, static_cast<std::uint16_t>(*port));
}

std::string text_of(const std::map<std::string, unsigned>& by_namespace) {
    std::map<std::string, std::string> texts;
    for (const auto& [name, percent] : by_namespace) {
        texts[name] = std::to_string(percent);
    }
    return text_of(texts);
}

std::string text_of(const std::map<std::string, std::string>& by_domain) {
    std::string text;
    for (const auto& [domain, value] : by_domain) {
        text += fmt::format("{}{}={}", text.empty() ? "" : " ", domain, value);
    }
    return text;
}

std::string text_of(const std::map<std::string, std::vector<Cidr>>& by_domain) {
    std::map<std::string, std::string> texts;
    for (const auto& [domain, blocks] : by_domain) {
        auto& list = texts[domain];
        for (const auto& block : blocks) {
            list += (list.empty() ? "" : ",") + block.to_string();
        }
    }
    return text_of(texts);
}

} // namespace weft::app
