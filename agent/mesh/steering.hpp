// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The steering program in pods' network namespaces: attached by a pinned link each, so that it stays in force without
// an agent, and given the new program after every upgrade or map growth. Thread: control.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "agent/bpf/pins.hpp"
#include "weft/base/result.hpp"

namespace weft::mesh {

class Steering {
public:
    explicit Steering(bpf::PinLayout layout) : layout_(std::move(layout)) {}

    /// Puts `program` on the namespace, or into the link that is already there.
    [[nodiscard]] Result<> attach(std::uint64_t netns_cookie, int netns, int program) const;
    /// Detaches; nothing there is no error.
    [[nodiscard]] Result<> detach(std::uint64_t netns_cookie) const;
    /// Detaches what previous agents left at namespaces that are not in `wanted`.
    [[nodiscard]] Result<> keep_only(const std::set<std::uint64_t>& wanted) const;

private:
    bpf::PinLayout layout_;
};

} // namespace weft::mesh
