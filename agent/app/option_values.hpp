// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Texts of the configuration as values: each function sets its target or says what is wrong with the text.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "weft/base/ip.hpp"
#include "weft/base/result.hpp"

namespace weft::app {

Result<> set_text(std::string& target, const std::string& text);
Result<> set_choice(std::string& target, const std::string& text, const std::vector<std::string>& choices);
Result<> set_bool(bool& target, const std::string& text);
/// HOST:PORT or [IPV6]:PORT, any port up to 65535; empty is fine.
Result<> set_address(std::string& target, const std::string& text);
/// An absolute path, without slashes at its end; empty is fine.
Result<> set_path(std::string& target, const std::string& text);
Result<long> parse_number(const std::string& text, long least, long most);

/// "DOMAIN=VALUE DOMAIN=VALUE", separated by white space; each trust domain once.
Result<> set_by_domain(std::map<std::string, std::string>& target, const std::string& text);
/// The same, each value a list of prefixes, separated by commas.
Result<> set_blocks(std::map<std::string, std::vector<Cidr>>& target, const std::string& text);

/// The same, by any name.
Result<> set_by_name(std::map<std::string, std::string>& target, const std::string& text);
/// An absolute path, "stdout" or nothing.
Result<> set_log_file(std::string& target, const std::string& text);
/// "NAMESPACE=PERCENT NAMESPACE=PERCENT", 0 to 100; "*" is every other namespace.
Result<> set_percent_by_namespace(std::map<std::string, unsigned>& target, const std::string& text);

/// HOST:PORT taken apart; the host of "[2001:db8::1]:1" without brackets, of ":1" empty. Error: EINVAL.
Result<std::pair<std::string, std::uint16_t>> split_address(const std::string& text);

/// As set_by_domain() and set_blocks() take them.
std::string text_of(const std::map<std::string, std::string>& by_domain);
std::string text_of(const std::map<std::string, std::vector<Cidr>>& by_domain);
/// As set_percent_by_namespace() takes it.
std::string text_of(const std::map<std::string, unsigned>& by_namespace);

} // namespace weft::app
