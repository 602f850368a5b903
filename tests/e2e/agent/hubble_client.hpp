// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Runs tests/support/hubble/client.cpp, a client of Hubble's API that knows nothing of ours, against an agent.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/support/agent_world.hpp"

namespace weft::test {

/// The agent's own socket, as a gRPC target.
std::string admin_target(const AgentWorld& world);

/// One call that ends by itself: each answer; or one string, "error CODE TEXT".
std::vector<nlohmann::json> ask_hubble(const AgentWorld& world, const std::string& target,
                                       const std::vector<std::string>& words);

/// A call that goes on until this is destroyed.
class HubbleStream {
public:
    HubbleStream(const AgentWorld& world, const std::string& target, std::vector<std::string> words);
    /// All answers that have come.
    [[nodiscard]] std::vector<nlohmann::json> read() const;

private:
    std::string output_;
    std::unique_ptr<Process> process_;
};

} // namespace weft::test
