// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Messages as JSON and YAML.
#include "tools/weft/document.hpp"

#include <google/protobuf/util/json_util.h>

namespace weft::cli {
namespace {

using Json = nlohmann::ordered_json;

// Letters first and only harmless characters after: everything else is quoted, as JSON quotes (which is YAML).
std::string scalar(const Json& value) {
    if (!value.is_string()) {
        return value.dump();
    }
    const auto& text = value.get_ref<const std::string&>();
    bool plain = !text.empty() && (std::isalpha(static_cast<unsigned char>(text.front())) != 0 || text.front() == '/');
    for (const char c : text) {
        plain = plain && (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.' ||
                          c == '/' || c == ' ' || c == '=');
    }
    plain = plain && text.back() != ' ';
    for (const char* word : {"true", "false", "yes", "no", "on", "off", "null", "y", "n", "True", "False", "Yes", "No",
                             "On", "Off", "Null"}) {
        plain = plain && text != word;
    }
    return plain ? text : value.dump();
}

void write(std::string& out, const Json& value, std::size_t indent) {
    const std::string pad(indent, ' ');
    if (value.is_object()) {
        for (const auto& [key, item] : value.items()) {
            out += pad + key + ":";
            if (item.is_structured() && !item.empty()) {
                out += '\n';
                write(out, item, item.is_array() ? indent : indent + 2);
            } else {
                out += ' ' + (item.is_structured() ? item.dump() : scalar(item)) + '\n';
            }
        }
        return;
    }
    for (const auto& item : value) {
        if (item.is_structured() && !item.empty()) {
            std::string block;
            write(block, item, indent + 2);
            out += pad + "- " + block.substr(indent + 2); // the first key stands beside the dash
        } else {
            out += pad + "- " + (item.is_structured() ? item.dump() : scalar(item)) + '\n';
        }
    }
}

std::string print(const google::protobuf::Message& message, bool all) {
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = all;
    options.preserve_proto_field_names = true;
    std::string text;
    // Fails only for Any messages of an unknown type, which our API does not have.
    (void)google::protobuf::util::MessageToJsonString(message, &text, options);
    return text;
}

} // namespace

Json to_json(const google::protobuf::Message& message) {
    return Json::parse(print(message, true));
}

std::string to_json_line(const google::protobuf::Message& message) {
    return print(message, false);
}

std::string to_yaml(const Json& json) {
    if (!json.is_structured() || json.empty()) {
        return (json.is_structured() ? json.dump() : scalar(json)) + "\n";
    }
    std::string out;
    write(out, json, 0);
    return out;
}

} // namespace weft::cli
