// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do a person and a bug report read the kernel's maps? Each entry as text, with the name of every number beside it.
// Pure: bytes and the desired state in, text out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/compiler/desired_state.hpp"
#include "weft/abi/types.h"

namespace weft::admin {

/// Names for the numbers of one desired state, which must outlive this.
class Namer {
public:
    explicit Namer(const compiler::DesiredState& desired);

    /// "pay/api:http"; the port number stands in for a missing port name; hex when unknown; "-" for 0.
    [[nodiscard]] std::string service(std::uint64_t id) const;
    /// Services that use this backend set: "5f.. (pay/api:http)".
    [[nodiscard]] std::string backend_set(std::uint64_t id) const;
    /// "host", "world", "any", or "<hex> (ns key=value,...)".
    [[nodiscard]] std::string identity(std::uint64_t id) const;
    /// "pay/allow-web ingress[0]", hex when unknown, "default" for 0.
    [[nodiscard]] std::string rule(std::uint64_t id) const;
    /// "<hex> (pay/allow-web, ...)" or "-" for 0.
    [[nodiscard]] std::string policy(std::uint64_t id) const;
    /// "shop/web-1", or hex.
    [[nodiscard]] std::string workload(std::uint64_t id) const;
    /// "4026 (shop/web-1)".
    [[nodiscard]] std::string netns(std::uint64_t cookie) const;
    /// "shop/web-1" of a pod of this node, or empty.
    [[nodiscard]] std::string pod_of_netns(std::uint64_t cookie) const;
    /// "shop/web-1" of the pod with this address, or empty.
    [[nodiscard]] std::string pod_of(const weft_addr& addr) const;
    /// "10.0.0.1 (shop/web-1)".
    [[nodiscard]] std::string address(const weft_addr& addr) const;
    /// "TCP 10.0.0.1:80 (shop/web-1)".
    [[nodiscard]] std::string end(const weft_addr_port& end) const;

    [[nodiscard]] const compiler::DesiredState& desired() const { return *desired_; }

private:
    const compiler::DesiredState* desired_;
    std::unordered_map<std::uint64_t, std::vector<std::string>> services_of_set_;
};

/// Who writes a map and what it is for.
struct MapInfo {
    std::string_view name;
    std::string_view writer; ///< "agent" or "kernel"
    std::string_view help;
};

/// Every map of the contract.
std::span<const MapInfo> known_maps();
/// By full name or without "weft_"; nullptr when there is no such map.
const MapInfo* find_map(std::string_view name);

struct DecodedEntry {
    std::string key, value;
};

/// An entry of a map as text. Bytes of a size that the ABI does not have, and maps that it does not know, come out as
/// hex with a note, never as a guess.
DecodedEntry decode(const Namer& names, std::string_view map, std::span<const std::byte> key,
                    std::span<const std::byte> value);

} // namespace weft::admin
