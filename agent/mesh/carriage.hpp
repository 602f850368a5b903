// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who moves the bytes of joined connections: weft-relay where the kernel takes the records, else this worker.
// Thread: the worker's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "agent/mesh/plain_relay.hpp"
#include "agent/mesh/poller.hpp"
#include "agent/mesh/rekey.hpp"
#include "agent/mesh/relay_link.hpp"
#include "agent/mesh/stats.hpp"
#include "agent/mesh/surroundings.hpp"
#include "weft/ktls/traffic.hpp"
#include "weft/ktls/userspace_relay.hpp"

namespace weft::mesh {

struct CarriageOptions {
    bool kernel_tls = false;           ///< the kernel takes records, and weft-relay splices
    std::vector<ktls::Cipher> ciphers; ///< those that it takes
    std::string relay_socket;
    bool rekey = false; ///< the kernel changes keys
    KeyLimit key_limit;
    Secrets* secrets = nullptr; ///< of all workers together; lives longer than they
    bool watch = false; ///< this worker hears of the relay's connections and keeps the pods' listeners there
};

class Carriage {
public:
    Carriage(Poller& poller, Stats& stats, CarriageOptions options);
    ~Carriage();
    Carriage(const Carriage&) = delete;
    Carriage& operator=(const Carriage&) = delete;

    /// Carries the connection until its end; if it cannot, both ends are reset.
    void take(Joined joined);
    /// Resets those whose facts satisfy `wanted`, and counts them as closed by a revocation.
    void close_if(const std::function<bool(const ConnectionFacts&)>& wanted);
    /// To weft-relay, which also keeps what is not carried.
    RelayLink& relay() { return relay_; }

private:
    /// A connection whose bytes pass through this thread.
    struct Carried {
        UniqueFd app;
        UniqueFd wire;
        std::variant<ktls::UserspaceRelay, PlainRelay> relay;
        ConnectionFacts facts;
        std::uint64_t id = 0; ///< in Stats
    };
    using CarriedPtr = std::unique_ptr<Carried>;

    [[nodiscard]] bool kernel_takes(const Joined& joined) const;
    void lost_relay();
    void end_unheard();
    void answered(ktls::RelayMessage& message);
    void on_event(const weft_relay_entry& entry);
    /// What the relay carries, so that this process knows what an earlier one handed over.
    void listed(const ktls::RelayMessage& message);
    /// Nothing, when the relay has it or it is reset; the connection itself when only user space can carry it.
    std::optional<Joined> take_in_kernel(Joined joined);
    void take_here(Joined joined);
    void step(Poller::Token token, std::uint32_t events);
    void end(Poller::Token token, bool in_order);
    void give_up(Joined& joined, const std::string& detail);

    Poller& poller_;
    Stats& stats_;
    CarriageOptions options_;
    std::unordered_map<Poller::Token, CarriedPtr> carried_;
    RelayLink relay_;
    std::optional<Rekeyer> rekeyer_; ///< of the worker that watches
    std::unordered_map<std::uint64_t, Joined> handed_over_; ///< not answered yet, by id
    /// Of the worker that watches: what the relay carried when the link broke, and has not named since.
    std::set<std::uint64_t> unheard_;
    Poller::Token unheard_timer_ = 0;
};

} // namespace weft::mesh
