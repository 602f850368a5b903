// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does an answer of the agent become JSON or YAML? Field names as in the .proto, every field present, so that
// scripts need not guess.
#pragma once

#include <string>

#include <nlohmann/json.hpp>

namespace google::protobuf {
class Message;
}

namespace weft::cli {

/// The message with all its fields; 64-bit numbers are strings, as protobuf's JSON has them.
nlohmann::ordered_json to_json(const google::protobuf::Message& message);
/// One line, without fields that are not set: what Hubble's clients print.
std::string to_json_line(const google::protobuf::Message& message);
/// JSON as block YAML; strings that YAML would read as something else are quoted.
std::string to_yaml(const nlohmann::ordered_json& json);

} // namespace weft::cli
