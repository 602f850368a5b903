// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What did the runtime say on stdin? The network configuration, checked field by field: what is unknown, of the wrong
// type or beyond its limit is named in the error.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cni-plugin/error.hpp"

namespace weft::cni {

/// Keeps the order of keys, so that what is passed on looks as it came.
using Json = nlohmann::ordered_json;

/// CNI versions that this plugin speaks, oldest first.
inline constexpr std::array<std::string_view, 3> kVersions = {"0.4.0", "1.0.0", "1.1.0"};
/// First version with GC and STATUS.
inline constexpr std::string_view kGcVersion = "1.1.0";
/// Most bytes and deepest nesting of stdin.
inline constexpr std::size_t kMaxInput = std::size_t{1} << 20;
inline constexpr int kMaxDepth = 64;

/// One entry of cni.dev/valid-attachments.
struct Attachment {
    std::string container_id;
    std::string ifname;
};

struct NetConf {
    std::string version; ///< cniVersion, one of kVersions
    std::string name;
    std::string agent_socket = "/run/weft/enrol.sock";
    std::chrono::milliseconds timeout{10000}; ///< for the agent's answer
    Json prev_result; ///< null when missing
    bool has_attachments = false; ///< cni.dev/valid-attachments is there
    std::vector<Attachment> attachments;
};

/// How much a fault matters: DEL must not fail because of a key that it does not need.
enum class Strictness { kEveryField, kOnlyVersion };

/// stdin as JSON. Errors: code 6 for anything that is no JSON object within the limits.
CniResult<Json> decode(std::string_view input);

/// Errors: 1 for another version, 2 for an unknown key, 7 for a bad value. With kOnlyVersion faults in other fields
/// leave the field's default.
CniResult<NetConf> parse_netconf(const Json& object, Strictness strictness);

/// "0.4.0, 1.0.0, 1.1.0".
std::string supported_versions();

/// The part of a JSON value that fits into a message, as JSON text; never longer than 100 bytes.
std::string excerpt(const Json& value);

} // namespace weft::cni
