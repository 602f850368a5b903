// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// A container runtime as far as CNI goes: runs the plugins of a configuration list as processes, hands each one the
// result of the one before, and keeps the last result for CHECK and DEL. Plugins run in the calling thread's network
// namespace, which is the node's.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "weft/base/result.hpp"

namespace weft::test {

using Json = nlohmann::ordered_json;

/// One container's attachment to a network.
struct CniAttachment {
    std::string container_id;
    std::string netns; ///< path; may be empty for DEL
    std::string args;  ///< CNI_ARGS
    std::string ifname = "eth0";
};

/// What a plugin's process left.
struct CniOutput {
    int status = 0; ///< exit status; -1 when it was killed
    std::string out;
    std::string err;
};

class CniRunner {
public:
    /// `path`: folders in which plugins are looked for, as in CNI_PATH.
    explicit CniRunner(std::vector<std::string> path) : path_(std::move(path)) {}

    /// ADD through the whole list. The error's code is the CNI code of the plugin that failed; what the plugins
    /// before it did is left, as runtimes do, for del().
    Result<Json> add(const Json& conflist, const CniAttachment& attachment);
    /// CHECK through the list, with the result of add().
    Result<> check(const Json& conflist, const CniAttachment& attachment);
    /// DEL in reverse order; goes on after a failure and returns the first.
    Result<> del(const Json& conflist, const CniAttachment& attachment);

    /// One plugin, one call. Errors: ENOENT when there is no such plugin, ETIMEDOUT after 30 s, errno otherwise.
    [[nodiscard]] Result<CniOutput> exec(const std::string& plugin, const std::string& command,
                                         const std::string& input, const CniAttachment& attachment) const;

private:
    Result<CniOutput> call(const Json& conflist, const Json& plugin, const std::string& command,
                           const CniAttachment& attachment, const Json& prev_result) const;

    std::vector<std::string> path_;
    std::map<std::string, Json> results_; ///< by container id and interface
};

} // namespace weft::test
