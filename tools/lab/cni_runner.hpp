// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Runs the real CNI chain for a pod as a container runtime does: ptp with host-local, then weft-cni, each with the
// previous one's result, in the node's network namespace.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tools/lab/names.hpp"
#include "tools/lab/network.hpp"

namespace weft::lab {

/// What the chain needs to know about one pod.
struct CniPod {
    std::string namespace_name = {};
    std::string name = {};
    std::string uid = {};
    std::string container_id = {};
    std::string netns = {};             ///< path
    std::vector<Ip> wanted = {};        ///< addresses asked for; empty: any of the node's blocks
    std::string node = {};
};

class CniRunner {
public:
    /// `mesh`: whether weft-cni is part of the chain. Error: ENOENT naming the plugin that is missing and its package.
    static Result<CniRunner> make(Names names, bool mesh);

    /// The conflist for this pod: what a node's /etc/cni/net.d would hold, with the range narrowed to `wanted` if set.
    [[nodiscard]] nlohmann::ordered_json conflist(const WireNode& node, const CniPod& pod) const;

    /// CNI ADD of the whole chain; on failure what was made is taken back with DEL. Returns the pod's addresses.
    /// Error: EAGAIN when a plugin says "try again later" (CNI code 11), else EIO; the plugin's own message.
    [[nodiscard]] Result<std::vector<Ip>> add(const WireNode& node, const CniPod& pod) const;

    /// CNI DEL of the whole chain, in reverse.
    [[nodiscard]] Result<> del(const WireNode& node, const CniPod& pod) const;

private:
    CniRunner(Names names, bool mesh, std::string plugins, std::string weft_cni)
        : names_(std::move(names)), mesh_(mesh), plugins_(std::move(plugins)), weft_cni_(std::move(weft_cni)) {}
    [[nodiscard]] Result<nlohmann::ordered_json> call(const char* verb, const WireNode& node, const CniPod& pod,
                                                      const nlohmann::ordered_json& config) const;

    Names names_;
    bool mesh_;
    std::string plugins_;
    std::string weft_cni_;
};

} // namespace weft::lab
