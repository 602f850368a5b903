// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// How does what one agent sees come into the map? Follows its flows and asks every few seconds for its workloads and
// open connections; an agent that is away is tried again until it is back, and its state says why.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include <nlohmann/json.hpp>

#include "tools/weft/client.hpp"
#include "tools/weft/ui/service_graph.hpp"

namespace weft::ui {

/// Thread: two of its own, one that follows flows and, while the agent answers, one that asks.
class AgentFeed {
public:
    /// Begins at once. `number` is the agent's number in `graph`, which must outlive this.
    AgentFeed(std::string socket, std::size_t number, ServiceGraph& graph);
    AgentFeed(const AgentFeed&) = delete;
    AgentFeed& operator=(const AgentFeed&) = delete;
    /// Stops both.
    ~AgentFeed() = default;

    /// socket, node, version, connected, error, problems, lost; docs/ui.md explains them. Thread: any.
    [[nodiscard]] nlohmann::json state() const;

private:
    struct State {
        std::string node, version, error, tier;
        bool connected = false;
        std::uint64_t problems = 0, lost = 0;
    };

    void follow(const std::stop_token& stop);
    Result<> follow_once(const std::stop_token& stop);
    void ask(cli::Client& client, const std::stop_token& stop);
    Result<> ask_once(cli::Client& client, const std::stop_token& stop);
    /// Was it there until now?
    bool set_away(const std::string& why);

    const std::string socket_;
    const std::size_t number_;
    ServiceGraph& graph_;
    mutable std::mutex mutex_; ///< guards state_: read by the listener's threads
    State state_;
    std::int64_t seen_ns_ = 0; ///< time of the newest flow; of the thread that follows
    std::jthread thread_;      ///< last: it uses all others
};

} // namespace weft::ui
