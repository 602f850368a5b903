// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What did the runtime say in the environment? CNI_COMMAND and its parameters, checked as the specification words
// them, so that nothing that reaches the agent (or a file name) is a surprise.
#pragma once

#include <functional>
#include <string>

#include "cni-plugin/error.hpp"

namespace weft::cni {

/// Value of an environment variable, nullptr when not set: getenv, or a test's own.
using GetEnv = std::function<const char*(const char* name)>;

enum class Command { kAdd, kDel, kCheck, kGc, kStatus, kVersion };

/// The pod of an ADD, from CNI_ARGS.
struct PodArgs {
    std::string namespace_name; ///< K8S_POD_NAMESPACE
    std::string name;           ///< K8S_POD_NAME
    std::string uid;            ///< K8S_POD_UID; empty with older runtimes
};

struct Environment {
    Command command = Command::kVersion;
    std::string container_id; ///< ADD, DEL, CHECK
    std::string netns;        ///< ADD, CHECK; may be empty for DEL
    std::string ifname;       ///< ADD, DEL, CHECK
    PodArgs pod;              ///< ADD
};

/// Reads what the command needs, nothing else. Error: code 4 naming the variable.
CniResult<Environment> read_environment(const GetEnv& get);

/// CNI_COMMAND's value.
std::string command_name(Command command);

} // namespace weft::cni
