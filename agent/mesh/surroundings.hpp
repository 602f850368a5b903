// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// What every connection of one worker needs, in one place. Borrowed: the worker outlives its connections.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "agent/mesh/kernel_state.hpp"
#include "agent/mesh/poller.hpp"
#include "agent/mesh/stats.hpp"
#include "agent/mesh/view.hpp"
#include "weft/ktls/handshake.hpp"

namespace weft::mesh {

struct Limits {
    /// Of `pending`, from one peer's address: somebody who opens many and says nothing takes no room from others.
    std::size_t pending_from_one = 1024;
    std::chrono::milliseconds connect{30'000};  ///< until the peer or the application takes the connection
    std::chrono::milliseconds handshake{10'000}; ///< from the first byte to the last
    /// After a start, until a workload has its first certificate: its connections wait, then they are reset.
    std::chrono::milliseconds certificate{15'000};
    /// Permissive: a peer that says nothing waits for the server to speak. A busy peer's hello must not come later.
    std::chrono::milliseconds silence{5000};
    std::size_t pending = 4096; ///< per worker: connections that do not carry yet
};

/// Two ends that belong together, ready to carry.
struct Joined {
    UniqueFd app; ///< to the application
    UniqueFd wire; ///< to the other node
    std::optional<ktls::Handshake> handshake; ///< done; none: plaintext
    ConnectionFacts facts;
    bool kept = false; ///< weft-relay holds `app`, too, under `facts.id`
};

struct Surroundings {
    Poller& poller;
    const KernelState& kernel;
    Stats& stats;
    const Limits& limits;
    int home_netns; ///< descriptor of the agent's own network namespace
    bool kernel_tls; ///< the kernel takes records: sockets are prepared early
    std::function<std::shared_ptr<const View>()> view;
    std::function<void(Joined)> carry;
    /// Has weft-relay hold an application's connection, so that the next agent can go on with it; false: it does not.
    std::function<bool(std::uint64_t id, int fd, std::uint64_t netns_cookie)> keep;
    /// Ends that; what was kept is closed.
    std::function<void(std::uint64_t id)> drop;
    std::size_t pending = 0; ///< connections that do not carry yet
    std::unordered_map<Ip, std::size_t> pending_from = {}; ///< those that came in, by the peer's address
};

} // namespace weft::mesh
