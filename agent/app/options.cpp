// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
#include "agent/app/options.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

#include "agent/app/option_check.hpp"
#include "agent/app/option_keys.hpp"

namespace weft::app {
namespace {

std::string flag_of(const Key& key) {
    std::string flag = "--" + std::string(key.name);
    std::ranges::replace(flag, '_', '-');
    return flag;
}

std::string variable_of(const Key& key) {
    std::string variable = "WEFT_" + std::string(key.name);
    std::ranges::transform(variable, variable.begin(),
                           [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
    return variable;
}

std::string help_text() {
    std::string text =
        "weftd - the node agent of Weft\n\nUsage: weftd [--config FILE] [--KEY VALUE ...]\n\n"
        "Each key can stand in the YAML file, in the environment (WEFT_KEY), or as a flag; the last one wins.\n\n"
        "  --config FILE            YAML file with the keys below (underscores instead of dashes)\n"
        "  --check-config           check everything, print the result, and stop\n"
        "  --version                print the version and stop\n"
        "  --help                   this text\n\n";
    for (const auto& key : option_keys()) {
        const auto flag = flag_of(key) + " " + std::string(key.value);
        text += fmt::format("  {:<24}{}{}\n", flag, flag.size() > 24 ? "\n" + std::string(27, ' ') : " ", key.help);
    }
    text += "\nSignals: TERM and INT stop the agent and leave the data path at work; `weft uninstall` removes it.\n"
            "Exit codes: 0 stopped on request, 1 failed, 2 wrong configuration.\n";
    return text;
}

/// A mapping as the other places write it: "NAME=VALUE NAME=VALUE", lists with commas. Nothing for other shapes.
std::optional<std::string> text_of_mapping(const YAML::Node& mapping) {
    std::string text;
    for (const auto& entry : mapping) {
        std::string value;
        if (entry.second.IsSequence()) {
            for (const auto& one : entry.second) {
                value += (value.empty() ? "" : ",") + one.as<std::string>("");
            }
        } else if (entry.second.IsScalar()) {
            value = entry.second.as<std::string>("");
        }
        // White space would end the pair, and what is left of it would be taken for another one.
        if (value.empty() || value.find_first_of(" \t\r\n") != std::string::npos || !entry.first.IsScalar()) {
            return std::nullopt;
        }
        text += fmt::format("{}{}={}", text.empty() ? "" : " ", entry.first.as<std::string>(""), value);
    }
    return text;
}

/// What the file says for a key, as set() takes it.
Result<std::string> value_in_file(const Key& key, const YAML::Node& value) {
    if (value.IsNull()) {
        return std::string(); // yaml-cpp would say "null"
    }
    if (value.IsScalar()) {
        return value.as<std::string>("");
    }
    if (key.mapping) {
        if (auto text = value.IsMap() ? text_of_mapping(value) : std::nullopt; text) {
            return *text;
        }
        const auto equals = key.value.find('=');
        return invalid("must be a mapping of {} to {} without spaces",
                       key.value.substr(0, equals) == "NAMESPACE" ? "namespaces"
                       : key.value.substr(0, equals) == "NAME"    ? "names"
                                                                  : "trust domains",
                       key.value.substr(equals + 1));
    }
    return invalid("must be a single value");
}

Result<> read_file(Options& options, Origins& origins, const std::string& path) {
    YAML::Node root;
    try {
        root = YAML::LoadFile(path);
    } catch (const YAML::BadFile&) {
        return invalid("{}: cannot be read; check the path of --config", path);
    } catch (const YAML::Exception& error) {
        return invalid("{}:{}: not valid YAML: {}", path, error.mark.line + 1, error.msg);
    }
    if (root.IsNull()) {
        return {};
    }
    if (!root.IsMap()) {
        return invalid("{}: must be a mapping of keys to values; see weftd --help", path);
    }
    for (const auto& entry : root) {
        const auto name = entry.first.as<std::string>("");
        const auto key = std::ranges::find(option_keys(), std::string_view(name), &Key::name);
        if (key == option_keys().end()) {
            return invalid("{}:{}: unknown key '{}'; see weftd --help for the keys", path, entry.first.Mark().line + 1,
                           name);
        }
        const auto value = value_in_file(*key, entry.second);
        auto set = value ? key->set(options, *value) : std::unexpected(value.error());
        const auto line = (entry.second.IsMap() ? entry.first : entry.second).Mark().line + 1;
        if (origins.contains(key->name)) {
            return invalid("{}:{}: {}: said before, at {}; remove one", path, line, name, origins[key->name]);
        }
        origins[key->name] = fmt::format("{}:{}: {}", path, line, name);
        if (!set) {
            return std::unexpected(set.error().within(origins[key->name]));
        }
    }
    return {};
}

} // namespace

Result<Invocation> parse_options(const std::vector<std::string>& arguments) {
    Invocation invocation;
    std::string file;
    std::vector<std::pair<const Key*, std::string>> given;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        std::string flag = arguments[i];
        if (flag == "--help" || flag == "-h") {
            invocation.help = help_text();
            return invocation;
        }
        if (flag == "--version") {
            invocation.version = true;
            return invocation;
        }
        if (flag == "--check-config") {
            invocation.check_config = true;
            continue;
        }
        std::string value;
        const auto equals = flag.find('=');
        const auto key_name = flag.substr(0, equals);
        const auto key = std::ranges::find_if(option_keys(), [&](const Key& k) { return flag_of(k) == key_name; });
        if (key == option_keys().end() && key_name != "--config") {
            return invalid("unknown argument '{}'; see weftd --help", flag);
        }
        if (equals != std::string::npos) {
            value = flag.substr(equals + 1);
        } else if (++i < arguments.size()) {
            value = arguments[i];
        } else {
            return invalid("{}: needs a value", flag);
        }
        if (key_name == "--config") {
            file = value;
        } else {
            given.emplace_back(&*key, value);
        }
    }
    Origins origins;
    if (!file.empty()) {
        WEFT_TRY(read_file(invocation.options, origins, file));
    }
    for (const auto& key : option_keys()) {
        if (const char* value = std::getenv(variable_of(key).c_str()); value != nullptr) {
            origins[key.name] = "environment variable " + variable_of(key);
            if (auto set = key.set(invocation.options, value); !set) {
                return std::unexpected(set.error().within(origins[key.name]));
            }
        }
    }
    for (const auto& [key, value] : given) {
        origins[key->name] = flag_of(*key);
        if (auto set = key->set(invocation.options, value); !set) {
            return std::unexpected(set.error().within(origins[key->name]));
        }
    }
    WEFT_TRY(check_options(invocation.options, origins));
    return invocation;
}

std::string describe(const Options& options) {
    std::string text;
    for (const auto& key : option_keys()) {
        const auto value = key.get(options);
        // A mapping is printed in the form that one line can hold, which the file may have, too.
        text += fmt::format("{}: {}\n", key.name, key.mapping && !value.empty() ? "\"" + value + "\"" : value);
    }
    return text;
}

} // namespace weft::app
