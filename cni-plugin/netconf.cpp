// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The network configuration.
#include "cni-plugin/netconf.hpp"

#include <algorithm>
#include <optional>

namespace weft::cni {
namespace {

constexpr std::size_t kMaxName = 253;
constexpr std::size_t kMaxSocketPath = 107; // sun_path less its end
constexpr int kMaxTimeoutSeconds = 300;
constexpr std::size_t kMaxAttachments = 10000;

constexpr std::array<std::string_view, 9> kKnownKeys = {"cniVersion",   "name",          "type",
                                                        "prevResult",   "agentSocket",   "timeoutSeconds",
                                                        "capabilities", "runtimeConfig", "args"};

bool alphanumeric(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

std::unexpected<CniError> bad(std::string_view field, const Json& value, std::string_view wanted) {
    return fail(Code::kInvalidConfig, fmt::format("{}: must be {}, is {}", field, wanted, excerpt(value)),
                "mend the weft-cni entry of the network configuration list");
}

/// Counts brackets outside strings: the JSON library itself nests calls when it prints a deep value.
bool too_deep(std::string_view input) {
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < input.size(); ++i) {
        const char c = input[i];
        if (in_string) {
            i += c == '\\' ? 1 : 0;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > kMaxDepth) {
                return true;
            }
        } else if (c == ']' || c == '}') {
            --depth;
        }
    }
    return false;
}

bool name_like(const std::string& text) {
    return !text.empty() && text.size() <= kMaxName && alphanumeric(text.front()) &&
           std::ranges::all_of(text, [](char c) { return alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

CniResult<> read_version(const Json& object, NetConf& out) {
    const auto at = object.find("cniVersion");
    if (at == object.end()) {
        return fail(Code::kIncompatibleVersion, "cniVersion: missing", "supported: " + supported_versions());
    }
    if (!at->is_string()) {
        return bad("cniVersion", *at, "a string");
    }
    out.version = at->get<std::string>();
    if (std::ranges::find(kVersions, out.version) == kVersions.end()) {
        return fail(Code::kIncompatibleVersion, fmt::format("cniVersion: {} is not supported", excerpt(*at)),
                    "supported: " + supported_versions());
    }
    return {};
}

CniResult<> read_attachments(const Json& value, NetConf& out) {
    constexpr std::string_view kField = "cni.dev/valid-attachments";
    if (!value.is_array() || value.size() > kMaxAttachments) {
        return bad(kField, value, fmt::format("an array of at most {} objects", kMaxAttachments));
    }
    for (const Json& item : value) {
        const auto id = item.is_object() ? item.find("containerID") : item.end();
        const auto ifname = item.is_object() ? item.find("ifname") : item.end();
        if (id == item.end() || ifname == item.end() || !id->is_string() || !ifname->is_string()) {
            return bad(kField, item, "an object with the strings containerID and ifname");
        }
        out.attachments.push_back({id->get<std::string>(), ifname->get<std::string>()});
    }
    out.has_attachments = true;
    return {};
}

CniResult<> read_field(const std::string& key, const Json& value, NetConf& out) {
    if (key == "name") {
        if (!value.is_string() || !name_like(value.get_ref<const std::string&>())) {
            return bad(key, value, "a network name: letters, digits, '_', '.', '-', the first a letter or digit");
        }
        out.name = value.get<std::string>();
    } else if (key == "agentSocket") {
        if (!value.is_string() || !value.get_ref<const std::string&>().starts_with('/') ||
            value.get_ref<const std::string&>().size() > kMaxSocketPath) {
            return bad(key, value, fmt::format("an absolute path of at most {} bytes", kMaxSocketPath));
        }
        out.agent_socket = value.get<std::string>();
    } else if (key == "timeoutSeconds") {
        if (!value.is_number_integer() || value < 1 || value > kMaxTimeoutSeconds) {
            return bad(key, value, fmt::format("a whole number from 1 to {}", kMaxTimeoutSeconds));
        }
        out.timeout = std::chrono::seconds(value.get<int>());
    } else if (key == "prevResult") {
        if (!value.is_object() && !value.is_null()) {
            return bad(key, value, "an object");
        }
        out.prev_result = value;
    } else if (key == "cni.dev/valid-attachments") {
        return read_attachments(value, out);
    } else if (std::ranges::find(kKnownKeys, key) == kKnownKeys.end() && key.find('/') == std::string::npos) {
        // Keys with a slash belong to whoever owns that domain (cni.dev/...).
        return fail(
            Code::kUnsupportedField, fmt::format("{}: unsupported field, value {}", excerpt(Json(key)), excerpt(value)),
            "weft-cni knows agentSocket and timeoutSeconds; addresses are the business of the plugins before it");
    }
    return {};
}

} // namespace

std::string supported_versions() {
    return fmt::format("{}", fmt::join(kVersions, ", "));
}

std::string excerpt(const Json& value) {
    if (value.is_structured() && value.size() > 8) {
        return value.is_array() ? "a long array" : "a large object";
    }
    std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
    constexpr std::size_t kMost = 100;
    if (text.size() > kMost) {
        text.resize(kMost - 3);
        text += "...";
    }
    return text;
}

CniResult<Json> decode(std::string_view input) {
    if (input.size() > kMaxInput) {
        return fail(Code::kDecode, fmt::format("stdin: longer than {} bytes", kMaxInput));
    }
    if (too_deep(input)) {
        return fail(Code::kDecode, fmt::format("stdin: nested deeper than {} levels", kMaxDepth));
    }
    Json object = Json::parse(input.begin(), input.end(), nullptr, false);
    if (object.is_discarded()) {
        return fail(Code::kDecode, input.empty() ? "stdin: empty" : "stdin: no valid JSON",
                    "the runtime passes the network configuration as JSON on stdin");
    }
    if (!object.is_object()) {
        return fail(Code::kDecode, fmt::format("stdin: must be a JSON object, is {}", excerpt(object)));
    }
    return object;
}

CniResult<NetConf> parse_netconf(const Json& object, Strictness strictness) {
    NetConf out;
    if (auto version = read_version(object, out); !version) {
        return std::unexpected(std::move(version).error());
    }
    for (const auto& [key, value] : object.items()) {
        auto field = read_field(key, value, out);
        if (!field && strictness == Strictness::kEveryField) {
            return std::unexpected(std::move(field).error());
        }
    }
    if (out.name.empty() && strictness == Strictness::kEveryField) {
        return fail(Code::kInvalidConfig, "name: missing", "give the network configuration list a name");
    }
    return out;
}

} // namespace weft::cni
