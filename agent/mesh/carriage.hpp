// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Who moves the bytes of joined connections: weft-relay where the kernel takes the records, else this worker.
// Thread: the worker's.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "agent/mesh/plain_relay.hpp"
#include "agent/mesh/poller.hpp"
#include "agent/mesh/stats.hpp"
#include "agent/mesh/surroundings.hpp"
#include "weft/ktls/relay_client.hpp"
#include "weft/ktls/traffic.hpp"
#include "weft/ktls/userspace_relay.hpp"

namespace weft::mesh {

struct CarriageOptions {
    bool kernel_tls = false;           ///< the kernel takes records, and weft-relay splices
    std::vector<ktls::Cipher> ciphers; ///< those that it takes
    std::string relay_socket;
    bool watch = false; ///< this worker hears of the relay's connections that ended
};

class Carriage {
public:
    Carriage(Poller& poller, Stats& stats, CarriageOptions options);
    ~Carriage();
    Carriage(const Carriage&) = delete;
    Carriage& operator=(const Carriage&) = delete;

    /// Carries the connection until its end; if it cannot, both ends are reset.
    void take(Joined joined);
    /// Resets those whose facts satisfy `wanted`.
    void close_if(const std::function<bool(const ConnectionFacts&)>& wanted);

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
    /// The connection to weft-relay, made when there is none; null when there is no relay.
    ktls::RelayClient* relay();
    void lose_relay();
    void on_relay();
    void answered(const ktls::RelayMessage& message);
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
    std::optional<ktls::RelayClient> relay_;
    Poller::Token relay_token_ = 0;
    std::unordered_map<std::uint64_t, Joined> handed_over_; ///< not answered yet, by id
};

} // namespace weft::mesh
