// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How do the kernel's UDP flows end (include/weft/abi/udp_flow.h)? Nothing there has a timer, so the agent runs a
// program that ends those which fell silent and reports them as events. Thread: control.
#pragma once

#include <chrono>
#include <cstdint>

#include "weft/base/result.hpp"
#include "weft/base/unique_fd.hpp"

namespace weft::bpf {

class Datapath;

class UdpFlows {
public:
    /// Takes descriptors of its own: the map is a state map, which stays when the data path grows.
    /// Error: the data path has no such program.
    static Result<UdpFlows> open(const Datapath& datapath);

    /// What one pass found.
    struct Pass {
        std::uint32_t ended = 0; ///< flows that ended in it
        std::uint32_t open = 0;  ///< flows that go on
    };
    /// Ends the flows that were silent for longer than `idle`. Error: the program cannot run.
    [[nodiscard]] Result<Pass> sweep(std::chrono::nanoseconds idle) const;

private:
    UniqueFd program_;
};

} // namespace weft::bpf
