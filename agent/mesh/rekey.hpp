// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// The life of keys whose records are the kernel's: secrets of the connections whose ends both can change keys, and
// what is done when a key has carried its share of bytes, or the peer has changed its own.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "agent/mesh/poller.hpp"
#include "agent/mesh/relay_link.hpp"
#include "agent/mesh/stats.hpp"
#include "weft/ktls/traffic.hpp"

namespace weft::mesh {

/// What a key may carry.
struct KeyLimit {
    std::uint64_t bytes = std::uint64_t{64} << 30; ///< in one direction; 0: any number
    bool close = false; ///< where keys cannot be changed: reset the connection; else only count it
};

/// Traffic secrets, by number of the connection: whoever made the handshake puts them, the watching worker uses them.
/// They die with the agent. Thread: any.
class Secrets {
public:
    void put(std::uint64_t id, ktls::Traffic traffic);
    void forget(std::uint64_t id);
    [[nodiscard]] std::optional<ktls::Traffic> find(std::uint64_t id) const;

private:
    mutable std::mutex mutex_; ///< guards traffic_: workers put, the watching one takes
    std::unordered_map<std::uint64_t, ktls::Traffic> traffic_;
};

/// Thread: the watching worker's.
class Rekeyer {
public:
    Rekeyer(Poller& poller, RelayLink& relay, Stats& stats, Secrets& secrets);
    Rekeyer(const Rekeyer&) = delete;
    Rekeyer& operator=(const Rekeyer&) = delete;

    /// An event about a living connection: a key has reached its limit, or the peer has changed its own.
    void on_event(const weft_relay_entry& entry);
    /// The answer to WEFT_RELAY_HOLD: nothing is sent now, so that keys can be changed.
    void on_held(ktls::RelayMessage& message);
    void forget(std::uint64_t id);
    void relay_lost() { jobs_.clear(); }

private:
    struct Job {
        bool send = false;    ///< our own key is to be changed
        bool request = false; ///< and the peer is to change its own
        bool receive = false; ///< the peer has changed its own
        std::uint32_t done = 0; ///< WEFT_RELAY_NEW_*
        UniqueFd fd{}; ///< while the relay holds the connection
    };
    void want(std::uint64_t id, const Job& job);
    /// Changes keys as far as the send buffer allows; true when the job is over.
    bool work(std::uint64_t id, Job& job);
    void retry();
    void give_up(std::uint64_t id, const std::string& detail);

    Poller& poller_;
    RelayLink& relay_;
    Stats& stats_;
    Secrets& secrets_;
    Poller::Token token_;
    std::map<std::uint64_t, Job> jobs_;
};

} // namespace weft::mesh
