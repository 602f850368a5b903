// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
// Requests through the agent's data path: a server outside, clients that are governed, real sockets.
#pragma once

#include <cstdint>
#include <string>

#include "tests/support/agent_world.hpp"

namespace weft::test {

/// A Service shop/NAME at `cluster_ip`, port 80, whose one backend is kBackendIp:8080.
std::string service_with_backend(const std::string& name, const std::string& cluster_ip);

/// Answers "ok" on kBackendIp:8080 until it is destroyed.
class Server {
public:
    explicit Server(const AgentWorld& world);
    ~Server();
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;

private:
    pid_t pid_ = -1;
};

/// What a governed program gets from ADDRESS:80: the answer, or the name of the errno value.
std::string request(const AgentWorld& world, const std::string& address);

/// A governed program that makes one request after the other until it is stopped.
class Load {
public:
    struct Counts {
        std::uint64_t ok = 0, failed = 0;
    };
    Load(const AgentWorld& world, const std::string& address);
    ~Load();
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    [[nodiscard]] Counts count() const;
    /// Ends it.
    Counts stop();

private:
    std::string report_;
    pid_t pid_ = -1;
};

} // namespace weft::test
