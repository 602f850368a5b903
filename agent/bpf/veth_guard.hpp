// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does the program that judges what pods really send get onto the host's ends of their veth pairs, and off again?
// As a tc filter, which every supported kernel has and which stays when the agent ends; weft_veth says which pod is
// behind which device.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "weft/base/result.hpp"

namespace weft::bpf {

/// What one pass did.
struct VethStats {
    std::size_t attached = 0;            ///< devices that were given the program
    std::size_t detached = 0;            ///< devices of pods that are no longer ours
    std::vector<std::string> unguarded;  ///< namespaces seen for the first time that have no veth pair to this one
    std::vector<Error> errors;           ///< one per pod or device; tried again by the next pass
};

/// Thread: control, in the node's network namespace.
class VethGuard {
public:
    /// Guards exactly the namespaces in `pods` (netns cookie -> path). `program`, `devices`: weft_wire and weft_veth,
    /// borrowed for the call; another program than last time replaces the old one on every device.
    VethStats apply(int program, int devices, const std::map<std::uint64_t, std::string>& pods);
    /// Makes the next pass look at every device again, in case somebody took the program off.
    void distrust() { guarded_.clear(); }

private:
    Result<> guard(int program, int devices, std::uint64_t cookie, const std::string& path, VethStats& stats);
    Result<> forget_unknown(int devices, VethStats& stats);

    std::uint32_t program_id_ = 0;
    std::map<std::uint64_t, std::vector<std::uint32_t>> guarded_; ///< netns cookie -> devices
    std::set<std::uint64_t> named_; ///< reported as unguarded already
};

/// Takes the program off every device that the map `devices` names, in the calling thread's network namespace. Devices
/// that are gone, or that carry another filter in its place, are left alone.
Result<> unguard_all(int devices);

} // namespace weft::bpf
